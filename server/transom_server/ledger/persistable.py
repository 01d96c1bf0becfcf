"""The only door to storage: a record passes if every field of its type is declared storable, and its text is plain.

The first check is about types and is made once; the second is about values, so that content cannot ride in a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message
from transom_wire.privacy import unstorable

PACKAGE: Final = "transom.ledger.v1"
PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{0,256}")
"""What text may look like: identifiers, host names and codes; no blanks, so no sentence of a document."""

M = TypeVar("M", bound=Message)


class NotPersistable(Exception):
    """The record may not be stored: a field is content, a credential or undeclared, or a text is not plain."""


@dataclass(frozen=True, slots=True)
class Persistable(Generic[M]):
    """A record that may be stored. Made by `scrub` only."""

    record: M


def scrub(record: M) -> Persistable[M]:
    """Let a record through, or refuse it whole.

    Raises:
        NotPersistable: Naming the fields, never their values.
    """
    if record.DESCRIPTOR.file.package != PACKAGE:
        raise NotPersistable(record.DESCRIPTOR.full_name)
    if refused := unstorable(record.DESCRIPTOR):
        raise NotPersistable(", ".join(sorted(refused)))
    for field, value in record.ListFields():
        if field.cpp_type == field.CPPTYPE_STRING:
            texts = value if field.is_repeated else (value,)
            if not all(isinstance(text, str) and PLAIN.fullmatch(text) for text in texts):
                raise NotPersistable(f"{record.DESCRIPTOR.name}.{field.name}")
    return Persistable(record)
