"""The tables of a training set, and users of the past, each with their features as of just before a moment."""
