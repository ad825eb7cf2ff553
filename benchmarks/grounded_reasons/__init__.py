"""How often the shop's own data support what reasons say, how fast they are, and whether the most relevant is said."""
