"""Texts that take seconds: what is to be written, and the pool of threads that has them written."""
