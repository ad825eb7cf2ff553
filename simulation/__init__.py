"""Simulation: a shop whose users act, as data where there is no real shop."""
