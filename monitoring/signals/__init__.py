"""Signals: plain figures by day and segment, counted by DuckDB out of the clean tables and the prediction log."""
