"""Texts that take seconds: what is to be written, how long it may be, and the pool of threads that has them written."""
