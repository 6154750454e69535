"""Statistics: what a pass over rows computes, chunk by chunk, and what an objective makes of the totals."""
