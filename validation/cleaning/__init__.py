"""Cleaning: a new step is a module here, listed in `steps`; it repairs or fills values, or adds a rule."""
