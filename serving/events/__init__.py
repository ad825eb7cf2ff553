"""Events of clients: read in the shop's terms, logged, and pushed to the online store."""
