"""One turn of the cycle as a function of state, rows and clock: it returns events, and knows no disk."""
