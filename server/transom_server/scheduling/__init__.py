"""The parts that the scheduler is made of, one noun each; all pure."""
