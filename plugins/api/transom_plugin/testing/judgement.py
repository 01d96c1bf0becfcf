"""Watch one call of a plugin: what it raises, and that it prints nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from transom_plugin.errors import PluginError
from transom_plugin.testing.capture import watched
from transom_plugin.testing.rules import Breach, require


class Judged:
    """A block in which a plugin works. An error that is allowed ends the block; any other is a breach."""

    def __init__(self, where: str, allowed: type[PluginError] | None = None) -> None:
        self._where = where
        self._allowed = allowed
        self._watch = watched()

    def __enter__(self) -> Self:
        self._printed = self._watch.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._watch.__exit__(None, None, None)
        require(self._printed.size == 0, f"{self._where} prints")
        if error is None or isinstance(error, Breach):
            return False
        if self._allowed is not None and isinstance(error, self._allowed):
            return True
        if isinstance(error, PluginError):
            raise Breach(f"{self._where} raises {error.reason}") from None
        if isinstance(error, Exception):
            raise Breach(f"{self._where} raises {type(error).__name__}; only errors of transom_plugin may leave a plugin") from None
        return False
