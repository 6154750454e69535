"""Retraining policies replayed over history: those of production, asked with what had arrived by then."""
