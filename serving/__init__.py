"""Request to answer: the engine, the BentoML service around it, and the watcher that swaps bundles."""
