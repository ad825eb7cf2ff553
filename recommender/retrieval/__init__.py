"""Rankers of the whole catalogue, one by one: neighbours, text, popularity, sequence, generative."""
