"""Hold what goes into an action and what comes out of it. No `repr` ever shows content."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from transom_plugin.errors import PluginError

Unit = Literal["pixel", "point"]
TextSource = Literal["digital", "ocr"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Document:
    """A whole document, as the caller sent it."""

    index: int
    """Position among the run's documents, from 0."""
    media_type: str
    data: memoryview

    def __repr__(self) -> str:
        return f"Document({self.index}, {self.media_type}, {len(self.data)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Image:
    """A page as pixels: rows from the top, without padding."""

    document: int
    """Position of the document among the run's documents, from 0."""
    page: int
    """Number of the page, from 1."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    channels: int
    """1 for grey, 3 for red, green, blue."""
    dpi: int
    data: memoryview
    """`width * height * channels` bytes."""
    page_width: float
    """Native width of the page, in `unit`."""
    page_height: float
    unit: Unit
    rotation: int = 0
    """Clockwise rotation that makes the page as submitted upright; the pixels are upright already."""
    pages: int = 0
    """How many pages will be read of the document; 0 when not known."""

    def __repr__(self) -> str:
        return f"Image(document={self.document}, page={self.page}, {self.width}x{self.height}x{self.channels})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Word:
    """One word as printed."""

    text: str
    polygon: tuple[float, ...]
    """Four corners as x, y pairs, clockwise from the word's top left, each 0..1 of the page as submitted."""
    confidence: float | None = None
    """0..1; None when the source does not say."""

    def __repr__(self) -> str:
        return f"Word({len(self.text)} characters)"


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive words of a page: [first, first + count)."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Page:
    """What was read from one page."""

    document: int
    number: int
    """From 1."""
    engine: str
    """The action that read it."""
    width: float = 0.0
    height: float = 0.0
    unit: Unit = "pixel"
    rotation: int = 0
    dpi: int | None = None
    text_source: TextSource = "ocr"
    words: tuple[Word, ...] = ()
    """In reading order."""
    lines: tuple[Span, ...] = ()
    blocks: tuple[Span, ...] = ()
    elapsed_ms: float = 0.0
    pages: int = 0
    """How many pages will be read of the document; 0 when not known."""
    error: PluginError | None = field(default=None)
    """Set when this page could not be read."""

    @classmethod
    def failed(cls, document: int, number: int, engine: str, error: PluginError, *, pages: int = 0) -> Page:
        """Report a page that could not be read; the others go on."""
        return cls(document=document, number=number, engine=engine, error=error, pages=pages)

    @property
    def text(self) -> str:
        """All lines, joined by line feeds."""
        return "\n".join(" ".join(word.text for word in self.words[line.first : line.first + line.count]) for line in self.lines)

    @property
    def mean_confidence(self) -> float | None:
        """Mean of the words' confidences, 0..1; None when none is known."""
        known = [word.confidence for word in self.words if word.confidence is not None]
        return sum(known) / len(known) if known else None

    def __repr__(self) -> str:
        state = self.error.reason if self.error is not None else f"{len(self.words)} words"
        return f"Page(document={self.document}, number={self.number}, {state})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Part:
    """A result that is not a page."""

    document: int
    media_type: str
    data: bytes | memoryview

    def __repr__(self) -> str:
        return f"Part(document={self.document}, {self.media_type}, {len(self.data)} bytes)"


Input = Document | Image
Output = Page | Image | Part
