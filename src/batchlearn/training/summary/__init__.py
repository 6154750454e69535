"""The summary of the data: what a training found out about them on the way, for whoever reads its report."""
