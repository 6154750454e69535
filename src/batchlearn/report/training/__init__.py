"""What the page of one training says: proof, scores, effects, findings, and answers to questions."""
