"""Read which pages a caller wants: `1-3,5`."""

from __future__ import annotations

import re

from transom_plugin.errors import BadParameters

SYNTAX = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*")
MAX_TEXT = 1_000


def selected(text: str | None, count: int) -> list[int]:
    """Return the selected page numbers, from 1, in ascending order; all where nothing was said.

    Raises:
        BadParameters: The text is not a selection, or selects no page that exists.
    """
    if text is None:
        return list(range(1, count + 1))
    if len(text) > MAX_TEXT or not SYNTAX.fullmatch(text):
        raise BadParameters
    pages: set[int] = set()
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        pages.update(range(int(first), min(int(last or first), count) + 1))
    pages &= set(range(1, count + 1))
    if not pages:
        raise BadParameters
    return sorted(pages)
