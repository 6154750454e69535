"""What a version keeps of its rows: totals from which a later update is bounded without reading those rows again."""
