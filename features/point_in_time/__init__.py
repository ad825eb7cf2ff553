"""The tables of a training set, each row with its features as of just before its time."""
