"""One step towards the minimum: the update rules."""
