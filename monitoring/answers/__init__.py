"""How the bundle in service does: its answers by day, a replay of what users do since, and when it is stale."""
