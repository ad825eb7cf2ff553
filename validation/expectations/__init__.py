"""Great Expectations: a table's rules as a suite, rejection of a table, Data Docs."""
