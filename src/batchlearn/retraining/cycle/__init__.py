"""One turn of the cycle: look, decide, train, judge, record. Clock, rows and store are given to it."""
