"""Figures as values: axes, marks and outlines, which the templates draw."""
