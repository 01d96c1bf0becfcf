"""Time what is sent, whatever sends it; nothing of ours is imported here, since peers are timed by it too."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Any

WARM_UP = 20
WARM_UP_BYTES = 256 * 1024
"""One document of more than this is enough to be warm."""
WARM_UP_S = 2.0
SEND_WITHIN_S = 30.0

Send = Callable[[Sequence[bytes]], Awaitable[Sequence[Any]]]
Cut = Callable[[bytes], Sequence[bytes]]


async def measure(send: Send, cut: Cut, *, size_bytes: int, concurrency: int, seconds: float, at_most: int) -> dict[str, float]:
    """Send documents for a time; returns the median time of one, and how many went through in a second."""
    document = os.urandom(size_bytes)
    pieces = cut(document)
    warm = time.perf_counter() + WARM_UP_S
    for number in range(WARM_UP if size_bytes <= WARM_UP_BYTES else 1):
        if number and time.perf_counter() > warm:
            break
        if b"".join(await send(pieces)) != document:
            raise ValueError("what came back is not what was sent")
    elapsed: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds

    async def keep_sending() -> None:
        while (started := time.perf_counter()) < end and len(elapsed) < at_most:
            async with asyncio.timeout(SEND_WITHIN_S):
                back = await send(pieces)
            elapsed.append(time.perf_counter() - started)
            if sum(map(len, back)) != size_bytes:
                raise ValueError("what came back is not what was sent")

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(keep_sending())
    return {"p50_s": median(elapsed), "rate": len(elapsed) / (time.perf_counter() - begun), "count": len(elapsed)}
