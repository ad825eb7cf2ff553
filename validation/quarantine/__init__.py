"""Rows that broke a rule: how they are kept, and how they are let in again."""
