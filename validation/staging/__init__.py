"""Raw parts as typed, repaired and marked rows, in SQL; nothing is read here yet."""
