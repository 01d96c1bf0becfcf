"""Documents as a caller gives them: bytes, a path or an opener. Each can be read again, since it may have to be sent again."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from transom_wire.errors import DocumentEmpty, InvalidRequest, SizeMismatch
from transom_wire.limits import CHUNK_BYTES, MIB

from transom_client.media_types import HEAD_BYTES, guess

T = TypeVar("T")

Opener = Callable[[], BinaryIO]
"""Opens the document's bytes from the start; called once per sending, and once before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document with its media type; an empty type is guessed from the bytes, then from the path's suffix."""

    source: bytes | Path | Opener = field(repr=False)
    media_type: str = ""


Given = Document | bytes | bytearray | memoryview | Path | Opener
"""What the SDK takes for a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A document of which everything is known that must be promised before its bytes are sent."""

    open: Opener = field(repr=False)
    media_type: str
    size_bytes: int
    sha256: bytes = field(repr=False)

    async def whole(self) -> bytes:
        """Return all bytes; for small documents only."""
        return b"".join([chunk async for chunk in self.chunks(self.size_bytes)])

    async def chunks(self, most_bytes: int = CHUNK_BYTES) -> AsyncGenerator[bytes, None]:
        """Yield the bytes in order, in chunks of at most `most_bytes`.

        Raises:
            SizeMismatch: The document is not as long as it was when it was measured.
            InvalidRequest: It cannot be read.
        """
        left = self.size_bytes
        file = await _in_thread(self.open)
        try:
            while left:
                size = min(most_bytes, left)
                chunk = file.read(size) if isinstance(file, io.BytesIO) else await _in_thread(file.read, size)
                if not chunk:
                    raise SizeMismatch
                left -= len(chunk)
                yield chunk
        finally:
            file.close()


def several(given: Given | Sequence[Given]) -> Sequence[Given]:
    """Return documents as a sequence, also where one alone was given: bytes are a sequence too, but not of documents."""
    return given if isinstance(given, (list, tuple)) else [given]  # type: ignore[list-item]


async def measure(given: Given) -> Measured:
    """Read a document once, and note its size, digest and media type.

    Raises:
        DocumentEmpty: It has no bytes.
        InvalidRequest: It cannot be read.
    """
    document = given if isinstance(given, Document) else Document(source=_source(given))
    source = document.source
    name = source.name if isinstance(source, Path) else ""
    if isinstance(source, bytes) and len(source) <= MIB:
        size, digest, head = _digest(lambda: io.BytesIO(source))
    else:
        size, digest, head = await _in_thread(_digest, _opener(source))
    if not size:
        raise DocumentEmpty
    return Measured(open=_opener(source), media_type=document.media_type or guess(head, name), size_bytes=size, sha256=digest)


def _source(given: bytes | bytearray | memoryview | Path | Opener) -> bytes | Path | Opener:
    return bytes(given) if isinstance(given, (bytearray, memoryview)) else given


def _opener(source: bytes | Path | Opener) -> Opener:
    if isinstance(source, bytes):
        return lambda: io.BytesIO(source)
    if isinstance(source, Path):
        return lambda: source.open("rb")
    return source


def _digest(opener: Opener) -> tuple[int, bytes, bytes]:
    digest, size, head = hashlib.sha256(), 0, b""
    with opener() as file:
        while chunk := file.read(MIB):
            head = head or chunk[:HEAD_BYTES]
            size += len(chunk)
            digest.update(chunk)
    return size, digest.digest(), head


async def _in_thread(function: Callable[..., T], *arguments: object) -> T:
    try:
        return await asyncio.to_thread(function, *arguments)
    except OSError:
        # The system's own text names the file.
        raise InvalidRequest("a document cannot be read; check that the file exists and may be read") from None
