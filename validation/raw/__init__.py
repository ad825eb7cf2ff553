"""Raw tables: what a source gave, unchanged, with where each row came from."""
