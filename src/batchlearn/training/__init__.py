"""One run: recipe, fit, certificate, evaluation on later rows."""
