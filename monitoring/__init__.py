"""Monitoring: windows of events (`windows`: a new signal is a column there) and drift between them (`drift`)."""
