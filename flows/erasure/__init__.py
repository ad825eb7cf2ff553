"""Forgetting a person: what is removed where, which bundles have to go, and the receipt of it all."""
