"""Next-item retrieval from the order of a history: a transformer over item vectors."""
