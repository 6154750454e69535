"""Where the rows of a project come from, and which of them were known when."""
