"""Give a plugin what it may know about its call: parameters, time, secrets, limits, and a way to tell how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transom_plugin.errors import Cancelled, SecretMissing, TimedOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a document may cost. Check before decoding."""

    max_bytes: int = 256 * 1024 * 1024
    max_pages: int = 2_000
    max_pixels: int = 50_000_000
    """Of one page: 50 million are an A4 page at 760 dpi."""


class Secret:
    """A secret's value; its `repr` hides it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"


def _never() -> bool:
    return False


def _ignore(done: int, total: int) -> None:
    del done, total


@dataclass(slots=True, kw_only=True)
class Context:
    """One call's surroundings. Made by the runner, or by the testing kit."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    """As the caller gave them, checked against the action's schema."""
    deadline: float = float("inf")
    """When the call must be over, on `time.monotonic`'s clock."""
    limits: Limits = field(default_factory=Limits)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    is_cancelled: Callable[[], bool] = _never
    report: Callable[[int, int], None] = _ignore

    def time_left_s(self) -> float:
        """Return the seconds until the deadline; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def cancelled(self) -> bool:
        """Say whether nobody waits any more."""
        return self.is_cancelled()

    def check(self) -> None:
        """Call between steps of long work.

        Raises:
            Cancelled: Nobody waits any more.
            TimedOut: The time is used up.
        """
        if self.cancelled():
            raise Cancelled
        if self.time_left_s() <= 0:
            raise TimedOut

    def progress(self, done: int, total: int = 0) -> None:
        """Tell how far the call is: `done` of `total` units; 0 when the total is not known."""
        self.report(done, total)

    def secret(self, name: str) -> Secret:
        """Return a secret that the manifest asks for.

        Raises:
            SecretMissing: The runner has none.
        """
        try:
            return self.secrets[name]
        except KeyError:
            raise SecretMissing from None
