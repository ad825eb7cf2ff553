"""What follows from what monitoring sees: decisions, the runs that they start, who is told, how a canary grows."""
