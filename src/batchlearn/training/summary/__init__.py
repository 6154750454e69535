"""What a training found out about its data on the way, for whoever reads its report."""
