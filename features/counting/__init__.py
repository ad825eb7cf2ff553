"""Features from streams of events: counts, sums, sketches and histories as of any moment."""
