"""What the page of one comparison says: curves, costs, the noise panel, and answers to questions."""
