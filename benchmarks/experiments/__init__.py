"""What experiments cost: the log, a second bundle, a swap."""
