"""Reads of the online store, and answers that go on without it."""
