"""Encode messages that carry a piece of a document with one copy of its bytes, where protobuf makes four.

A message is the concatenation of its fields, so the piece is put behind the other fields, which protobuf encoded. See the
protobuf documentation, "Encoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from transom_wire.limits import INLINE_BYTES

CONTINUES: Final = 0x80
"""Marks every byte of a varint but the last."""
VARINT: Final = 0
LENGTH_DELIMITED: Final = 2
"""Wire types: of whole numbers, and of bytes and messages."""
FIXED: Final = {1: 8, 5: 4}
"""The other wire types, and how many bytes they take."""

PEELED_FROM_BYTES: Final = 2 * INLINE_BYTES
"""Below this size, looking for the field costs more than copying it."""

Span = tuple[int, int, int]
"""Where a field begins in a message, where its body does, and where it ends."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= CONTINUES:
        out.append(number % CONTINUES | CONTINUES)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = tuple(_varint(number) for number in range(4096))


def varint(number: int) -> bytes:
    """Encode a length or a number that is not negative."""
    return _SMALL[number] if number < 4096 else _varint(number)


def tag(message: type[Message], field: str) -> bytes:
    """Encode the tag of a field, which is a number, bytes or a message."""
    described = message.DESCRIPTOR.fields_by_name[field]
    number = described.cpp_type in {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
    return _varint(described.number << 3 | (VARINT if number else LENGTH_DELIMITED))


Bytes = bytes | memoryview


def framed(field: bytes, parts: Sequence[Bytes]) -> list[Bytes]:
    """Put a field's tag and length in front of its parts, which are not copied."""
    return [field, varint(sum(map(len, parts))), *parts]


def boxed(field: bytes, body: bytes) -> bytes:
    """Put a field's tag and length in front of a small body, and copy it."""
    return field + varint(len(body)) + body


class Peel:
    """Read an encoded message, and take one large field of bytes out of it without copying.

    Protobuf copies such a field twice, which is most of what a chunk costs. A message in which the field does not stand
    alone is read as usual.
    """

    def __init__(self, message: type[Message], *paths: Sequence[str]) -> None:
        self._message = message
        self._paths = [_keys(message, path) for path in paths]

    def __call__(self, raw: bytes) -> tuple[Any, memoryview | None]:
        """Return the message, and the field's bytes if they were taken out of it."""
        if len(raw) > PEELED_FROM_BYTES:
            for keys in self._paths:
                spans = _spans(raw, keys)
                if spans:
                    _, data, data_end = spans[-1]
                    return self._message.FromString(_without(raw, keys, spans)), memoryview(raw)[data:data_end]
        return self._message.FromString(raw), None


def _keys(message: type[Message], path: Sequence[str]) -> list[int]:
    keys: list[int] = []
    described: Any = message.DESCRIPTOR
    for name in path:
        field = described.fields_by_name[name]
        keys.append(field.number << 3 | LENGTH_DELIMITED)
        described = field.message_type
    return keys


def _spans(raw: bytes, keys: Sequence[int]) -> list[Span]:
    """Find each field of a path in the one around it; empty when one does not stand alone."""
    spans: list[Span] = []
    start, end = 0, len(raw)
    for key in keys:
        span = _only(raw, start, end, key)
        if span is None:
            return []
        spans.append(span)
        _, start, end = span
    return spans


def _without(raw: bytes, keys: Sequence[int], spans: Sequence[Span]) -> bytes:
    """Leave out the innermost field, from the inside out, since every length around it shrinks."""
    rest = b""
    for depth in range(len(spans) - 1, -1, -1):
        start, end = spans[depth - 1][1:] if depth else (0, len(raw))
        at, _, after = spans[depth]
        if depth < len(spans) - 1:
            rest = boxed(varint(keys[depth]), rest)
        rest = raw[start:at] + rest + raw[after:end]
    return rest


def _only(raw: bytes, at: int, end: int, wanted: int) -> Span | None:
    """Find the one field with this key in a message; None where there is none, or several, or what is no message."""
    found: Span | None = None
    while at < end:
        start = at
        key, at = _number(raw, at)
        body = at
        kind = key & 7
        if kind == LENGTH_DELIMITED:
            size, body = _number(raw, at)
            at = body + size
        elif kind == VARINT:
            _, at = _number(raw, at)
        else:
            at += FIXED.get(kind, end)
        if at > end or (key == wanted and found is not None):
            return None
        if key == wanted:
            found = start, body, at
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < CONTINUES:
            break
        shift += 7
    return number, at
