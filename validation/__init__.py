"""The data gate: readers, cleaning, expectations, quarantine. Raw data enters nowhere else."""
