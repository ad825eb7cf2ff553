"""How much a user likes an item: P(like) and the rating of pairs."""
