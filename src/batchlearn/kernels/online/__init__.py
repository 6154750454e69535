"""Loops of online Newton over single rows, with a matrix and with a diagonal."""
