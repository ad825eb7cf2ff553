"""How fast the language model writes, with full weights and with those of eight bits."""
