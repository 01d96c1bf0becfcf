"""Walk messages by the data class that every field declares: what may be shown, and what may be stored."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from functools import lru_cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from transom.privacy.v1 import privacy_pb2

SHOWN: Final = frozenset({privacy_pb2.DATA_CLASS_PUBLIC, privacy_pb2.DATA_CLASS_INTERNAL})
REFUSED: Final = frozenset({privacy_pb2.DATA_CLASS_UNSPECIFIED, privacy_pb2.DATA_CLASS_CONTENT, privacy_pb2.DATA_CLASS_CREDENTIAL})


def rule(field: FieldDescriptor) -> privacy_pb2.Data:
    """Return what a field declares about its data; the empty rule when it declares nothing."""
    declared: privacy_pb2.Data = field.GetOptions().Extensions[privacy_pb2.data]
    return declared


@lru_cache(maxsize=512)
def unstorable(descriptor: Descriptor) -> frozenset[str]:
    """Name the fields of a message type, and of those below it, that may never be stored."""
    return frozenset(_unstorable(descriptor, descriptor.name))


def _unstorable(descriptor: Descriptor, path: str) -> Iterator[str]:
    for field in descriptor.fields:
        declared = rule(field)
        where = f"{path}.{field.name}"
        if declared.data_class in REFUSED or declared.persist != privacy_pb2.PERSIST_LEDGER:
            yield where
        if field.message_type is not None:
            yield from _unstorable(field.message_type, where)


def describe(message: Message) -> str:
    """Say what a message is without saying what is in it: shown fields only, others by their size.

    The redactor: use it wherever a message would otherwise be printed.
    """
    return f"{message.DESCRIPTOR.name}({', '.join(_described(message))})"


def _described(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if rule(field).data_class not in SHOWN:
            yield f"{field.name}=<{_size(value)}>"
        elif field.message_type is None:
            yield f"{field.name}={value!r}" if not field.is_repeated else f"{field.name}=[{len(value)}]"
        elif field.is_repeated:
            yield f"{field.name}=[{len(value)}]"
        else:
            yield f"{field.name}={describe(value)}"


def _size(value: object) -> int | str:
    """Measure a value; a number's size would tell the number."""
    if isinstance(value, Message):
        return value.ByteSize()
    return len(value) if isinstance(value, Sized) else "hidden"
