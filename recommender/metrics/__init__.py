"""Measures of rankings, lists, ratings and texts, and how sure they are."""
