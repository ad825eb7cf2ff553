"""The first rows of each file or database table, as texts in DuckDB, and counts of their columns."""
