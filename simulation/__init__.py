"""Shops and users that act, for data without a shop."""
