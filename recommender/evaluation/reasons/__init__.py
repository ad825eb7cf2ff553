"""How true reasons are: each fact that is said, held against the shop's tables."""
