"""Hold a run's document bytes in memory, from the caller's chunks to the runner's fetch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from transom_wire.encoding import Bytes
from transom_wire.errors import ChunkOutOfOrder, CreditExceeded, InvalidRequest, RunUnknown, SizeMismatch
from transom_wire.limits import KIB, MAX_CHUNK_BYTES

TOGETHER_BYTES: Final = 512 * KIB
"""What one message carries at most of several chunks: half of a result's window, so that pieces of this size flow."""


@dataclass(slots=True)
class _Held:
    """One document: its chunks, and how many of its bytes have come and gone."""

    size_bytes: int
    chunks: deque[Bytes] = field(default_factory=deque)
    received: int = 0
    position: int = 0
    """Where the next chunk of this pass begins: before `received` when what is here already is sent again."""

    @property
    def complete(self) -> bool:
        return self.received == self.size_bytes


class Payload:
    """The documents of one run. With `keep` the bytes stay until `drop`; otherwise each goes once it was read.

    `granted` is told the total number of bytes that may have been sent, whenever it grows.
    """

    def __init__(self, sizes: Sequence[int], *, keep: bool, window_bytes: int, granted: Callable[[int, int], None]) -> None:
        self._held = [_Held(size) for size in sizes]
        self._keep = keep
        self._granted = granted
        self._window = window_bytes
        self._credit = 0
        self._received = self._sent = 0
        self._consumed = 0
        self._changed: asyncio.Event | None = None
        """Made by the first reader that waits: most documents are taken whole."""
        self._dropped = False
        self.total_bytes = sum(sizes)
        self.pass_number = 0
        self.rewound = 0
        """How many times everything was asked for again; readers of an earlier time are void."""

    def __repr__(self) -> str:
        return f"Payload({len(self._held)} documents, {self.total_bytes} bytes)"

    @property
    def complete(self) -> bool:
        """Whether every byte has come."""
        return self._received == self.total_bytes

    @property
    def untouched(self) -> bool:
        """Whether every byte that came is still here, so that another attempt can have them."""
        return self._keep or self._consumed == 0

    def fill(self, documents: Sequence[Bytes]) -> None:
        """Take whole documents at once.

        Raises:
            SizeMismatch: Their number or a size is not as declared.
        """
        if [len(document) for document in documents] != [held.size_bytes for held in self._held]:
            raise SizeMismatch
        for held, document in zip(self._held, documents, strict=True):
            held.chunks.append(document)
            held.received = held.position = len(document)
            self._received += len(document)

    def fill_rest(self, documents: Sequence[Bytes]) -> None:
        """Take whole documents of the declared sizes, of which some bytes are here already."""
        for held, document in zip(self._held, documents, strict=True):
            if not held.complete:
                held.chunks.append(memoryview(document)[held.received :])
                self._received += held.size_bytes - held.received
                held.received = held.position = held.size_bytes
        self._wake()

    def open(self) -> None:
        """Grant the first credit: everything where bytes are kept, a window where they are relayed."""
        self._grant(self.total_bytes if self._keep else min(self.total_bytes, self._window))

    def append(self, document: int, offset: int, data: Bytes, pass_number: int) -> None:
        """Take the next chunk of a document; chunks of an earlier pass are dropped.

        Raises:
            InvalidRequest: There is no such document, or the chunk is empty or larger than 1 MiB.
            ChunkOutOfOrder: It does not begin where the one before ended.
            SizeMismatch: It ends after the declared end.
            CreditExceeded: It was not granted.
        """
        if pass_number != self.pass_number:
            return
        if document >= len(self._held) or not 0 < len(data) <= MAX_CHUNK_BYTES:
            raise InvalidRequest("a chunk names no declared document, is empty, or is larger than 1 MiB")
        held = self._held[document]
        if offset != held.position:
            raise ChunkOutOfOrder
        if offset + len(data) > held.size_bytes:
            raise SizeMismatch
        if self._sent + len(data) > self._credit:
            raise CreditExceeded
        held.position += len(data)
        self._sent += len(data)
        fresh = held.position - held.received
        if fresh <= 0:
            return
        held.chunks.append(data if fresh == len(data) else memoryview(data)[-fresh:])
        held.received += fresh
        self._received += fresh
        self._wake()

    def whole(self) -> list[Bytes]:
        """Return every document whole, for an assignment that carries them inline."""
        return [held.chunks[0] if len(held.chunks) == 1 else b"".join(held.chunks) for held in self._held]

    async def read(self, document: int) -> AsyncIterator[tuple[int, list[Bytes]]]:
        """Yield what has come of a document, a few chunks at once, with the offset of the first. The reader bounds the wait.

        Raises:
            RunUnknown: The bytes were let go, or belong to a later pass by now.
        """
        held = self._held[document]
        started = self.rewound
        offset, position = 0, 0
        while offset < held.size_bytes:
            while position >= len(held.chunks):
                self._check_readable(started)
                await self._more()
            self._check_readable(started)
            together, size = self._together(held, position)
            position += len(together) if self._keep else 0
            yield offset, together
            offset += size
            if not self._keep:
                self._consume(size)

    async def _more(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _together(self, held: _Held, position: int) -> tuple[list[Bytes], int]:
        """Take the chunks that are here, as many as one message should carry: each message has its price."""
        together: list[Bytes] = []
        size = 0
        while position < len(held.chunks) and (not together or size + len(held.chunks[position]) <= TOGETHER_BYTES):
            chunk = held.chunks[position] if self._keep else held.chunks.popleft()
            position += self._keep
            size += len(chunk)
            together.append(chunk)
        return together, size

    def _check_readable(self, rewound: int) -> None:
        if self._dropped or rewound != self.rewound:
            raise RunUnknown

    def _consume(self, size: int) -> None:
        self._consumed += size
        self._grant(min(self.total_bytes, self._consumed + self._window))

    def _grant(self, total: int) -> None:
        if total > self._credit:
            self._credit = total
            self._granted(total, self.pass_number)

    def rewind(self) -> int:
        """Ask for everything again: returns the number of the new pass."""
        self.pass_number += 1
        self.rewound += 1
        self._credit = self._received = self._sent = self._consumed = 0
        for held in self._held:
            held.chunks.clear()
            held.received = held.position = 0
        self._wake()
        return self.pass_number

    def restart(self) -> int:
        """Let another caller send, from offset 0, in a pass of its own whose number is returned: bytes that are here are passed over."""
        self.pass_number += 1
        self._sent = 0
        for held in self._held:
            held.position = 0
        return self.pass_number

    def regrant(self) -> None:
        """Tell the credit once more, in the pass that was begun since."""
        if self._credit:
            self._granted(self._credit, self.pass_number)

    def drop(self) -> None:
        """Let all bytes go, and end whoever still reads."""
        self._dropped = True
        for held in self._held:
            held.chunks.clear()
        self._wake()
