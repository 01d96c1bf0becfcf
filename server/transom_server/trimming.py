"""Give memory back once nothing runs: the allocator would keep what documents lay in."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final, Protocol

EVERY_S: Final = 1.0


def _trim() -> Callable[[int], object] | None:
    """Return glibc's malloc_trim(3), where there is one."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return trim


class Work(Protocol):
    """What can be idle."""

    idle: asyncio.Event
    ended: int
    """How many runs have ended so far."""


async def trim_when_idle(work: Work) -> None:
    """Trim once after the last of some runs has ended; never while one is live, since it takes milliseconds."""
    trim = _trim()
    trimmed = 0
    while trim is not None:
        await work.idle.wait()
        await asyncio.sleep(EVERY_S)
        if work.idle.is_set() and work.ended != trimmed:
            trimmed = work.ended
            trim(0)
