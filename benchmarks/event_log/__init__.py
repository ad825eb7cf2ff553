"""What the event log costs, live and sealed."""
