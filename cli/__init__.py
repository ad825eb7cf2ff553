"""The `sommelier` command: one module per group of verbs; what they do lies in the packages below."""
