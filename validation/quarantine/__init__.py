"""Quarantine: rows that broke a rule, how they are kept and how they are readmitted."""
