"""The model bundle: its manifest, how it is assembled, how it is loaded."""
