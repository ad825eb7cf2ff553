"""What the benchmarks share: data sets, fits, options, printed tables, time and memory."""
