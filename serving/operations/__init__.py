"""What operators look at and ask for: time line, lineage, audit log, quarantine, reports."""
