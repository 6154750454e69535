"""Solvers that learn from one row at a time, and what they predict on the way."""
