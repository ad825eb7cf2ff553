"""The service under load, beside an empty endpoint: `python -m benchmarks.serving_load`."""
