"""The shell around the cycle: it locks, reads, writes what the events of the cycle say, and prints nothing."""
