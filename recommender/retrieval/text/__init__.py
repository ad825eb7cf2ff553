"""Content-based retrieval: items whose texts are like those of a history."""
