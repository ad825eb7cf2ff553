"""Experiments in the service: which bundle answers whom, what is recorded of it, and what the records show."""
