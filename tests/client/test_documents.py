"""Documents at the caller's end: their type, their size, and what their names may not get into."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from transom_client import Document
from transom_client.documents import measure
from transom_client.media_types import guess


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"%PDF-1.7", "", "application/pdf"),
        (b"junk\n%PDF-1.4", "x.png", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", "", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"II*\x00", "", "image/tiff"),
        (b"MM\x00*", "", "image/tiff"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "", "image/webp"),
        (b"BM\x00\x00\x00\x00\x00\x00\x00\x00", "", "image/bmp"),
        (b"plain words", "letter.TXT", "text/plain"),
        (b"plain words", "letter", "application/octet-stream"),
        (b"plain words", "letter.unknown", "application/octet-stream"),
    ],
)
def test_the_first_bytes_tell_the_type_and_the_suffix_only_helps(head: bytes, name: str, expected: str) -> None:
    assert guess(head, name) == expected


async def test_size_digest_and_type_are_known_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    measured = await measure(path)
    assert (measured.size_bytes, measured.sha256, measured.media_type) == (5, hashlib.sha256(b"hello").digest(), "text/plain")
    assert await measured.whole() == b"hello"


async def test_a_type_that_is_given_is_not_guessed() -> None:
    assert (await measure(Document(source=b"%PDF-1.7", media_type="image/png"))).media_type == "image/png"


async def test_chunks_come_in_order_and_can_be_had_again() -> None:
    measured = await measure(bytes(range(256)) * 10)
    for _ in range(2):
        chunks = [chunk async for chunk in measured.chunks(1000)]
        assert [len(chunk) for chunk in chunks] == [1000, 1000, 560]
        assert b"".join(chunks) == bytes(range(256)) * 10


def test_a_document_never_shows_its_source() -> None:
    assert "SECRET" not in repr(Document(source=b"SECRET"))
