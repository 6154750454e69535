"""The only loops over rows: plain functions on plain arrays, in NumPy (sums over rows of sparse parts in SciPy)."""
