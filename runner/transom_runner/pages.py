"""Turn a plugin's page into the message that travels. Done in the worker, so that no other process walks content."""

from __future__ import annotations

from transom.documents.v1 import document_pb2
from transom_plugin import Page

_UNITS = {"pixel": document_pb2.LENGTH_UNIT_PIXEL, "point": document_pb2.LENGTH_UNIT_POINT}
_SOURCES = {"digital": document_pb2.TEXT_SOURCE_DIGITAL, "ocr": document_pb2.TEXT_SOURCE_OCR}


def serialised(page: Page) -> bytes:
    """Return a page that was read as a serialised `transom.documents.v1.Page`."""
    message = document_pb2.Page(
        number=page.number, width=page.width, height=page.height, unit=_UNITS[page.unit], rotation=page.rotation, dpi=page.dpi,
        engine=page.engine, elapsed_ms=page.elapsed_ms, text_source=_SOURCES[page.text_source], text=page.text,
    )  # fmt: skip
    for word in page.words:
        message.words.add(text=word.text, polygon=word.polygon, confidence=word.confidence)
    for line in page.lines:
        message.lines.add(first=line.first, count=line.count)
    for block in page.blocks:
        message.blocks.add(first=block.first, count=block.count)
    return message.SerializeToString()
