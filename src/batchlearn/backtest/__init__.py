"""Retraining policies replayed over history: the same policies as in production, asked with what had arrived by then."""
