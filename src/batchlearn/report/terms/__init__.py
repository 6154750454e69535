"""What a model has learned, as figures: one for each of its terms."""
