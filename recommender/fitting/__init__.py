"""What every fit shares: seeds and threads, checkpoints, summaries, component files."""
