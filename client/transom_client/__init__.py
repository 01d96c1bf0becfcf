"""Transom's Python SDK and command line."""
