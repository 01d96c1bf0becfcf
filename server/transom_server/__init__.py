"""Transom's control plane. Read the modules in the order of ARCHITECTURE.md."""

__version__ = "0.1.0"
