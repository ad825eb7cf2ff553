"""One frozen tree of settings, one module per topic."""
