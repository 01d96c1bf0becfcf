"""The runner daemon: documents in, sandboxed plugins, results out."""

from typing import Final

__version__: Final = "0.1.0"
