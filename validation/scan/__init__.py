"""One pass over a table: every rule's rows, counts and examples."""
