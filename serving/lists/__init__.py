"""Lists of items: which items they may hold, in which order, and what was done to it."""
