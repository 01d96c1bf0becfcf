"""Encode messages that carry a piece of a document with one copy of its bytes, where protobuf makes four.

A message is the concatenation of its fields, so the piece is put behind the other fields, which protobuf encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

CONTINUES: Final = 0x80
"""Marks every byte of a varint but the last. See the protobuf documentation, "Encoding"."""
LENGTH_DELIMITED: Final = 2
"""The wire type of bytes and messages."""


def varint(number: int) -> bytes:
    """Encode a length."""
    out = bytearray()
    while number >= CONTINUES:
        out.append(number % CONTINUES | CONTINUES)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(message: type[Message], field: str) -> bytes:
    """Encode the tag of a field whose value has a length: bytes, or a message."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | LENGTH_DELIMITED)


def framed(field: bytes, parts: Sequence[bytes]) -> list[bytes]:
    """Put a field's tag and length in front of its parts."""
    return [field, varint(sum(map(len, parts))), *parts]
