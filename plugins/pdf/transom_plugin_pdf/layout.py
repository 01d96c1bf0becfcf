"""Put lines into reading order: columns one after the other, from the top.

A recursive X-Y cut: a set of lines is split at its widest empty band, vertical or horizontal, until none is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Bounds = tuple[float, float, float, float]
COLUMN_GAP = 2.0
"""Heights of a line that separate two columns; a gap between words is a fraction of one."""
BLOCK_GAP = 0.9
"""Heights of a line that separate two paragraphs."""
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Box:
    """A word and its bounds: left, bottom, right, top, with y upwards."""

    text: str
    bounds: Bounds


class Line:
    """Words beside each other."""

    __slots__ = ("bottom", "boxes", "left", "right", "top")

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = boxes
        self.left = min(box.bounds[0] for box in boxes)
        self.bottom = min(box.bounds[1] for box in boxes)
        self.right = max(box.bounds[2] for box in boxes)
        self.top = max(box.bounds[3] for box in boxes)

    @property
    def height(self) -> float:
        """Height in points."""
        return max(self.top - self.bottom, 1.0)


def ordered(lines: Sequence[Line]) -> list[list[Line]]:
    """Return blocks of lines in reading order."""
    segments = [segment for line in lines for segment in _segments(line)]
    return _cut(segments, 0)


def _segments(line: Line) -> list[Line]:
    """Split a line where a gap is as wide as the one between columns."""
    pieces: list[list[Box]] = [[line.boxes[0]]]
    for before, box in zip(line.boxes, line.boxes[1:], strict=False):
        gap = box.bounds[0] - before.bounds[2]
        if gap > COLUMN_GAP * line.height:
            pieces.append([])
        pieces[-1].append(box)
    return [Line(piece) for piece in pieces]


def _cut(lines: list[Line], depth: int) -> list[list[Line]]:
    if len(lines) <= 1 or depth > MAX_DEPTH:
        return [lines] if lines else []
    height = sorted(line.height for line in lines)[len(lines) // 2]
    rows = _bands(lines, [(-line.top, -line.bottom) for line in lines], BLOCK_GAP * height)
    if len(rows) > 1:
        return [block for row in rows for block in _cut(row, depth + 1)]
    columns = _bands(lines, [(line.left, line.right) for line in lines], COLUMN_GAP * height)
    if len(columns) > 1:
        return [block for column in columns for block in _cut(column, depth + 1)]
    return [sorted(lines, key=lambda line: (-round(line.top / height), line.left))]


def _bands(lines: list[Line], intervals: list[tuple[float, float]], gap: float) -> list[list[Line]]:
    """Group lines whose intervals touch, or lie closer than `gap`; groups in ascending order."""
    order = sorted(range(len(lines)), key=lambda index: intervals[index])
    groups: list[list[Line]] = []
    end = float("-inf")
    for index in order:
        start, stop = intervals[index]
        if start - end > gap or not groups:
            groups.append([])
        groups[-1].append(lines[index])
        end = max(end, stop)
    return groups
