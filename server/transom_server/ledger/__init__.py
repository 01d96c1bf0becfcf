"""Remember metadata, and be unable to remember anything else."""
