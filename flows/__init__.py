"""What runs, in which order, retried how, cached by what."""
