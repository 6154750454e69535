"""Ways of reading rows, head to head on one objective."""
