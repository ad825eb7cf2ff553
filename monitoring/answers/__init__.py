"""How the bundle in service does: daily sums of its answers and what came of them, as signals, and when it is stale."""
