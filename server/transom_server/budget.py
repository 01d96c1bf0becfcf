"""Bound the bytes in memory: every buffer reserves from one declared budget before it fills."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from transom_wire.limits import INLINE_BYTES

STEP_BYTES: Final = INLINE_BYTES


class Budget:
    """A number of bytes that runs share, first come, first served."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_reserve(self, size_bytes: int) -> bool:
        """Take bytes at once, unless they are not free or others wait already."""
        if self._waiting or self.used_bytes + size_bytes > self.total_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    def try_grow(self, size_bytes: int) -> bool:
        """Take more bytes for what has some already, at once, unless they are not free.

        It goes before those that wait: only what has begun can end, and so make room for them.
        """
        if self.used_bytes + size_bytes > self.total_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    async def reserve(self, size_bytes: int, *, grows: bool = False) -> None:
        """Wait for bytes; the caller bounds the wait. They are the caller's once this returns.

        Args:
            size_bytes: How many.
            grows: The caller has some already, and so goes before those that wait: only what has begun can end.
        """
        if self.try_grow(size_bytes) if grows else self.try_reserve(size_bytes):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size_bytes, waiter)
        (self._waiting.appendleft if grows else self._waiting.append)(entry)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release(size_bytes)
            else:
                self._waiting.remove(entry)
                self._grant()
            raise

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""
        self.used_bytes -= size_bytes
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            size, waiter = self._waiting[0]
            if waiter.cancelled():
                # Its owner takes itself off the queue when it runs.
                return
            if self.used_bytes + size > self.total_bytes:
                return
            self._waiting.popleft()
            self.used_bytes += size
            waiter.set_result(None)


class Room:
    """Bytes of the budget that grow with what they hold, a step at a time. Whoever fills it releases it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size_bytes = 0

    def fit(self, size_bytes: int) -> bool:
        """Grow to at least so many bytes in all; False, and unchanged, when they are not free."""
        more = -(-size_bytes // STEP_BYTES) * STEP_BYTES - self.size_bytes
        if more > 0:
            if not self._budget.try_grow(more):
                return False
            self.size_bytes += more
        return True

    def release(self) -> None:
        """Give all bytes back."""
        self._budget.release(self.size_bytes)
        self.size_bytes = 0
