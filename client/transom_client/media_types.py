"""Guess a document's media type: by its first bytes, else by the suffix of its local name."""

from __future__ import annotations

from typing import Final

from transom_wire import media

HEAD_BYTES: Final = 1024
"""How many bytes from the start the guess wants to see."""

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"GIF8", "image/gif"),
)

_SUFFIXES: Final = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "txt": "text/plain",
    "json": "application/json",
}


def guess(head: bytes, name: str = "") -> str:
    """Return the media type of a document that begins with `head`; unknown bytes are octets."""
    # Readers accept a PDF header anywhere in the first kilobyte.
    if b"%PDF-" in head[:HEAD_BYTES]:
        return "application/pdf"
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    _, dot, suffix = name.rpartition(".")
    return _SUFFIXES.get(suffix.lower(), media.BYTES) if dot else media.BYTES
