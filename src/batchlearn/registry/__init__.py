"""Which models there are, which is live, and which was: files that are written once and never changed."""
