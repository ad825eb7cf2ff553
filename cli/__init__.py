"""The `sommelier` command."""
