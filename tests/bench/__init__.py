"""Benchmarks: each figure beside the limit of this machine, measured side by side in one run."""
