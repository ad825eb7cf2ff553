"""Pages for people, written by the service from what it knows: no script, nothing from elsewhere."""
