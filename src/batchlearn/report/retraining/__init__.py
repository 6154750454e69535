"""What pages say of retraining: one turn of the cycle, and policies replayed over history."""
