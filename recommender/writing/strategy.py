"""How the next word of a text is found: what requests and forms ask for, without what finds it."""

from typing import Literal

# Drawn from the likeliest words, the likeliest, or as of the likeliest whole texts.
Strategy = Literal["nucleus", "greedy", "beam"]
