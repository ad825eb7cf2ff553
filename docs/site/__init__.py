"""The documents as a site: the pages of `docs/`, and references made from the code."""
