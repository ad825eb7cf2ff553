"""Readers: one module per kind of source, from its files or database to raw tables."""
