"""A document with the text that is printed on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str
    media_type: str
    data: bytes
    pages: tuple[str, ...] = ()
    """What is printed on each page; nothing where the document cannot be read."""

    def __repr__(self) -> str:
        return f"Sample({self.name}, {self.media_type}, {len(self.data)} bytes, {len(self.pages)} pages)"


def character_error_rate(truth: str, text: str) -> float:
    """Edit distance per character of the truth; runs of white space count as one space."""
    expected, actual = " ".join(truth.split()), " ".join(text.split())
    if not expected:
        return 1.0 if actual else 0.0
    return edit_distance(expected, actual) / len(expected)


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance, a column of the table at once in the bits of an integer (Myers 1999, as put by Hyyro 2001)."""
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for index, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << index
    every, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    up, down, distance = every, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        vertical = equal | down
        horizontal = (((equal & up) + up) ^ up) | equal
        grows, shrinks = (down | ~(horizontal | up)) & every, up & horizontal
        distance += bool(grows & last) - bool(shrinks & last)
        grows, shrinks = (grows << 1 | 1) & every, (shrinks << 1) & every
        up, down = (shrinks | ~(vertical | grows)) & every, grows & vertical
    return distance
