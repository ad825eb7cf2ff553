"""What every package agrees on: table schema, settings, errors, atomic storage, folder layout, event log."""
