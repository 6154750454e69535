"""Delimited text as people write it: its layout, its columns, and the numbers and times in them."""
