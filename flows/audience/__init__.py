"""Texts for an audience: who that is, what is written for them, and the parts that it lies in."""
