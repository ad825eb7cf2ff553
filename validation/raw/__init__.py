"""Raw tables: what a source gave, untouched, with where each row came from."""
