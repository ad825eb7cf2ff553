"""Peers that benchmarks run beside the platform, some in environments of their own."""
