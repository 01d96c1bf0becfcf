"""What was read from one page: the values that `PageDone` carries. Their repr never shows content."""

from __future__ import annotations

from dataclasses import dataclass, field

from transom.documents.v1 import document_pb2
from transom_wire.errors import TransomError
from transom_wire.status import from_status

from transom_client.states import LengthUnit, TextSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word as printed."""

    text: str = field(repr=False)
    polygon: tuple[float, ...] = field(repr=False)
    """Corners as x, y pairs, clockwise from the top left of the word, each 0..1 of the page as submitted."""
    confidence: float | None = field(repr=False)
    """0..1; None when the source does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRange:
    """Consecutive words of a page: [first, first + count)."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a document."""

    number: int
    """Position in the document, from 1."""
    width: float
    height: float
    unit: LengthUnit
    rotation: int
    """Clockwise degrees that make the page upright."""
    dpi: int | None
    source: TextSource
    engine: str
    """The action that read the page."""
    text: str = field(repr=False)
    """All lines in reading order, joined by line feeds."""
    words: tuple[Word, ...] = field(repr=False)
    lines: tuple[WordRange, ...] = field(repr=False)
    blocks: tuple[WordRange, ...] = field(repr=False)
    elapsed_ms: float
    error: TransomError | None = field(default=None, repr=False)
    """Why this page could not be read, although others may have been."""

    @property
    def mean_confidence(self) -> float | None:
        """Mean confidence of the words that have one; None when none has."""
        known = [word.confidence for word in self.words if word.confidence is not None]
        return sum(known) / len(known) if known else None


def page_of(message: document_pb2.Page) -> Page:
    """Read a page from its message."""
    return Page(
        number=message.number,
        width=message.width,
        height=message.height,
        unit=LengthUnit(message.unit),
        rotation=message.rotation,
        dpi=message.dpi if message.HasField("dpi") else None,
        source=TextSource(message.text_source),
        engine=message.engine,
        text=message.text,
        words=tuple(_word(word) for word in message.words),
        lines=tuple(WordRange(first=one.first, count=one.count) for one in message.lines),
        blocks=tuple(WordRange(first=one.first, count=one.count) for one in message.blocks),
        elapsed_ms=message.elapsed_ms,
        error=from_status(message.error) if message.HasField("error") else None,
    )


def _word(message: document_pb2.Word) -> Word:
    confidence = message.confidence if message.HasField("confidence") else None
    return Word(text=message.text, polygon=tuple(message.polygon), confidence=confidence)
