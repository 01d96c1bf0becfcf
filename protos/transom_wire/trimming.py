"""Give memory back once nothing runs, in server and daemon alike: the allocator would keep what documents lay in."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final, Protocol

EVERY_S: Final = 1.0
COLLECT_AFTER: Final = (50_000, 20, 20)
"""Python's own thresholds make it look for garbage every few runs, in vain: what a run leaves is not cyclic."""


def collect_rarely() -> None:
    """Look for cyclic garbage less often, and never again in what was there at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class Work(Protocol):
    """What can be idle."""

    idle: asyncio.Event
    ended: int
    """How many runs, or attempts at them, have ended so far."""


async def trim_when_idle(work: Work, trim: Callable[[int], object] | None) -> None:
    """Trim once after the last of some runs has ended; never while one is live, since it takes milliseconds.

    Args:
        work: What may be idle.
        trim: The C library's malloc_trim(3); None where it has none.
    """
    trimmed = 0
    while trim is not None:
        await work.idle.wait()
        await asyncio.sleep(EVERY_S)
        if work.idle.is_set() and work.ended != trimmed:
            trimmed = work.ended
            trim(0)
