"""When to train again, on which rows, from which start, and whether the result may go live."""
