"""What lies between HTTP and the engine: middleware, BentoML inputs, responses, pages and metrics."""
