"""Re-ranking: a varied list, and places for what is rarely shown, out of a ranker's best items."""
