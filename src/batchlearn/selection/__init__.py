"""What is chosen by data before a fit: linear or additive, pairs, and the strength of each penalty."""
