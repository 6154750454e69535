"""How results read on a terminal."""
