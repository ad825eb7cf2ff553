"""Request to answer."""
