"""Put a document together from its chunks, in the one process that works on it, and check what was promised of it."""

from __future__ import annotations

import hashlib
import hmac

from transom_runner.frames import Bytes, Chunk, Frame, Head


class DocumentBroken(Exception):
    """The bytes are not those that were promised."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Assembly:
    """One document on its way in."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._data = bytearray(head.size_bytes)
        self._digest = hashlib.sha256()
        self._filled = 0

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self._filled == self.head.size_bytes

    def add(self, frame: Frame, data: Bytes) -> None:
        """Take the next chunk.

        Raises:
            DocumentBroken: It is no chunk of this document, or goes beyond its end.
        """
        end = self._filled + len(data)
        if not isinstance(frame, Chunk) or frame.document != self.head.index or end > self.head.size_bytes:
            raise DocumentBroken("SIZE_MISMATCH")
        self._data[self._filled : end] = data
        self._filled = end
        if self.head.sha256:
            self._digest.update(data)

    def check(self) -> None:
        """Compare with the promised digest.

        Raises:
            DocumentBroken: It differs.
        """
        if self.head.sha256 and not hmac.compare_digest(self._digest.digest(), self.head.sha256):
            raise DocumentBroken("DIGEST_MISMATCH")

    def whole(self) -> memoryview:
        """Return the document."""
        return memoryview(self._data).toreadonly()
