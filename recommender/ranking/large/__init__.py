"""Ranks a large catalogue by indexes, without scoring every item."""
