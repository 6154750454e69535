"""Certificates checked again: of models that are stored, and of those that others have fitted."""
