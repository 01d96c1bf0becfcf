"""Gather what is to be written to one stream into envelopes: one writer, control first, bounded.

A gRPC stream message costs Python about 100 us whatever is in it, so whatever has queued up while the last write was
under way goes out as one message. A lone item leaves at once, but for one that nobody waits for: it rides along with the
next, or leaves by itself a moment later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from transom_wire.limits import ENVELOPE_BYTES, ENVELOPE_ITEMS, INLINE_BYTES

T = TypeVar("T")

RIDES_WITHIN_S: Final = 0.002
"""How long an item may wait for another to ride along with."""


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
        self._due = False
        """Whether anything is to be written now, be it that an item has waited long enough."""
        self._riding: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._normal)

    def __iter__(self) -> Iterator[T]:
        """Yield what waits to be written, in the order in which it would be."""
        return (item for queue in (self._urgent, self._normal) for item, _ in queue)

    @property
    def queued_bytes(self) -> int:
        """Payload bytes that wait to be written."""
        return self._bytes

    def put(self, item: T, size_bytes: int = 0, *, urgent: bool = False, rides: bool = False) -> None:
        """Queue an item; never waits. Items put after `close` are dropped.

        Args:
            item: What is to be written.
            size_bytes: Its payload.
            urgent: It goes before everything that is queued.
            rides: Nobody waits for it, so it may ride along with a later item.

        Raises:
            OutboxFull: A bound is exceeded.
        """
        if self._closed:
            return
        if len(self._urgent) + len(self._normal) >= self._max_items or (self._bytes and self._bytes + size_bytes > self._max_bytes):
            raise OutboxFull
        (self._urgent if urgent else self._normal).append((item, size_bytes))
        self._bytes += size_bytes
        if not rides:
            self._wake()
        elif self._riding is None and not self._due:
            self._riding = asyncio.get_running_loop().call_later(RIDES_WITHIN_S, self._ridden)

    def close(self) -> None:
        """Let the writer write what is queued, and then end."""
        self._closed = True
        self._wake()

    async def take(self) -> list[T]:
        """Wait for items and return the next envelope's worth; an empty list means that the outbox is closed."""
        while not self._due or not (self._urgent or self._normal):
            if self._closed and not (self._urgent or self._normal):
                return []
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken = self._next()
        self._due = self._closed or bool(self._urgent or self._normal)
        return taken

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

    def _ridden(self) -> None:
        self._riding = None
        if self._urgent or self._normal:
            self._wake()

    def _wake(self) -> None:
        self._due = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
