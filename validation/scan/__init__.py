"""The scan of a table: every rule's rows, counts and examples."""
