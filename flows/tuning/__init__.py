"""The trials of a search as Prefect tasks, and their table."""
