"""File formats: delimited, JSON lines, Parquet; compressed or not."""
