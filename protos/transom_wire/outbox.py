"""Gather what is to be written to one stream into envelopes: one writer, control first, bounded.

A gRPC stream message costs Python about 100 us whatever is in it, so whatever has queued up while the last write was
under way goes out as one message. There is no timer: a lone item leaves at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from transom_wire.limits import ENVELOPE_BYTES, ENVELOPE_ITEMS, INLINE_BYTES

T = TypeVar("T")


class OutboxFull(Exception):
    """The peer does not read what is written to it: drop it, never wait for it."""


class Outbox(Generic[T]):
    """A bounded queue of items with their payload sizes in bytes, drained in envelopes by one writer."""

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        self._urgent: deque[tuple[T, int]] = deque()
        self._normal: deque[tuple[T, int]] = deque()
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._normal)

    @property
    def queued_bytes(self) -> int:
        """Payload bytes that wait to be written."""
        return self._bytes

    def put(self, item: T, size_bytes: int = 0, *, urgent: bool = False) -> None:
        """Queue an item; never waits. Items put after `close` are dropped.

        Raises:
            OutboxFull: A bound is exceeded.
        """
        if self._closed:
            return
        if len(self) >= self._max_items or (self._bytes and self._bytes + size_bytes > self._max_bytes):
            raise OutboxFull
        (self._urgent if urgent else self._normal).append((item, size_bytes))
        self._bytes += size_bytes
        self._wake()

    def close(self) -> None:
        """Let the writer write what is queued, and then end."""
        self._closed = True
        self._wake()

    async def take(self) -> list[T]:
        """Wait for items and return the next envelope's worth; an empty list means that the outbox is closed."""
        while not self._urgent and not self._normal:
            if self._closed:
                return []
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._next()

    def _next(self) -> list[T]:
        taken: list[T] = []
        total = 0
        for queue in (self._urgent, self._normal):
            while queue and len(taken) < ENVELOPE_ITEMS:
                size = queue[0][1]
                if taken and (total + size > ENVELOPE_BYTES or size > INLINE_BYTES):
                    return taken
                taken.append(queue.popleft()[0])
                total += size
                self._bytes -= size
                if size > INLINE_BYTES:
                    return taken
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
