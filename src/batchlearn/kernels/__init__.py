"""The only loops over rows: plain functions on plain arrays, in NumPy."""
