"""Embeddings by day: of what users take, of those who come, and of what reviewers write, told by means of vectors."""
