"""The runner daemon: documents in, sandboxed plugins, results out."""
