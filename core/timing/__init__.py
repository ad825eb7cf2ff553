"""The time of day, and how long what failed is left alone."""
