"""A shop's past led through the running platform, period by period, as it happened."""
