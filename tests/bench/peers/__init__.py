"""The same job through what users would pick instead: `make bench-peers`."""
