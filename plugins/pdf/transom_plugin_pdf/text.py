"""Read a page's own text: words with their boxes, lines and blocks in reading order."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator

import pypdfium2 as pdfium
import pypdfium2.raw as c
from transom_plugin import Page, Span, Word

from transom_plugin_pdf.layout import Box, Line, ordered
from transom_plugin_pdf.opening import Leaf

ENOUGH_CHARACTERS = 3
ENOUGH_OVER_A_SCAN = 200
"""A scan with a stamped page number has a text layer too: it does not count unless it is long."""
SCAN_COVERS = 0.5
REPLACEMENT = "\ufffd"
MAX_UNREADABLE = 0.1
GRID = 1_000_000
"""Whole numbers that pdfium maps a page to; fine enough for 0..1 with six digits."""


def has_text(page: pdfium.PdfPage, textpage: pdfium.PdfTextPage) -> bool:
    """Say whether a page's own text is what a reader sees."""
    text = textpage.get_text_range()
    visible = [character for character in text if not character.isspace()]
    if len(visible) < ENOUGH_CHARACTERS:
        return False
    unreadable = sum(1 for character in visible if character == REPLACEMENT or ord(character) < 32 or 0xE000 <= ord(character) <= 0xF8FF)
    if unreadable > MAX_UNREADABLE * len(visible):
        return False
    return len(visible) >= ENOUGH_OVER_A_SCAN or not _is_scan(page)


def _is_scan(page: pdfium.PdfPage) -> bool:
    width, height = page.get_size()
    covered = 0.0
    for image in page.get_objects(filter=[c.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = image.get_bounds()
        covered += max(0.0, right - left) * max(0.0, top - bottom)
    return bool(covered > SCAN_COVERS * width * height)


def read_text(leaf: Leaf, textpage: pdfium.PdfTextPage, started: float) -> Page:
    """Return a page with its own text."""
    page = leaf.page
    width, height = page.get_size()
    lines = [Line([Box(text=text, bounds=bounds) for text, bounds in line]) for line in _lines(textpage)]
    words: list[Word] = []
    line_spans: list[Span] = []
    block_spans: list[Span] = []
    for block in ordered(lines):
        block_start = len(words)
        for line in block:
            line_spans.append(Span(len(words), len(line.boxes)))
            words.extend(Word(text=box.text, polygon=_polygon(page, box.bounds)) for box in line.boxes)
        block_spans.append(Span(block_start, len(words) - block_start))
    return Page(
        document=leaf.document, number=leaf.number, engine="pdf.pages", width=width, height=height, unit="point", text_source="digital",
        words=tuple(words), lines=tuple(line_spans), blocks=tuple(block_spans), pages=leaf.count,
        elapsed_ms=(time.perf_counter() - started) * 1000,
    )  # fmt: skip


Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top in the page's own coordinates."""


def _lines(textpage: pdfium.PdfTextPage) -> Iterator[list[tuple[str, Bounds]]]:
    """Group characters into words, and words into lines, as pdfium breaks them."""
    line: list[tuple[str, Bounds]] = []
    word: list[str] = []
    bounds: Bounds | None = None
    for character, box in _characters(textpage):
        if character.isspace() or character == "\0":
            if word and bounds is not None:
                line.append(("".join(word), bounds))
            word, bounds = [], None
            if character in "\r\n" and line:
                yield line
                line = []
            continue
        word.append(character)
        bounds = box if bounds is None else _joined(bounds, box)
    if word and bounds is not None:
        line.append(("".join(word), bounds))
    if line:
        yield line


def _characters(textpage: pdfium.PdfTextPage) -> Iterator[tuple[str, Bounds]]:
    raw = textpage.raw
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    high = 0
    for index in range(textpage.count_chars()):
        code = c.FPDFText_GetUnicode(raw, index)
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        # pdfium marks a soft hyphen at a line's end with this code.
        character = "-" if code == 0x02 else chr(code)
        c.FPDFText_GetCharBox(raw, index, left, right, bottom, top)
        yield character, (left.value, bottom.value, right.value, top.value)


def _joined(one: Bounds, other: Bounds) -> Bounds:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _polygon(page: pdfium.PdfPage, bounds: Bounds) -> tuple[float, ...]:
    """Map a box to the page as it is shown: rotation and crop box are pdfium's business."""
    left, bottom, right, top = bounds
    x, y = ctypes.c_int(), ctypes.c_int()
    polygon: list[float] = []
    for corner in ((left, top), (right, top), (right, bottom), (left, bottom)):
        c.FPDF_PageToDevice(page.raw, 0, 0, GRID, GRID, 0, *corner, x, y)
        polygon += [min(1.0, max(0.0, x.value / GRID)), min(1.0, max(0.0, y.value / GRID))]
    return tuple(polygon)
