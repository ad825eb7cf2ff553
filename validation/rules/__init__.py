"""The rules of the tables' contract, and the shop's own from the settings."""
