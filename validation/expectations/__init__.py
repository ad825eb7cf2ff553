"""Great Expectations: suites of a table's rules, when a table is rejected, Data Docs."""
