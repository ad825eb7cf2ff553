"""Personal data in texts: where they stand, in any script, and the marks that take their place."""
