"""Open a PDF in memory, and say what is wrong with it where that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as c
from transom_plugin import Document, DocumentDamaged, DocumentEmpty, DocumentEncrypted, MediaTypeMismatch

HEADER_WITHIN = 1024
NO_PAGES = re.compile(rb"/Count\s+0\b")
A_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One page of an open PDF, and where it belongs."""

    document: int
    number: int
    """From 1."""
    count: int
    """How many pages will be read."""
    page: pdfium.PdfPage


@contextmanager
def opened(document: Document) -> Iterator[pdfium.PdfDocument]:
    """Open a document; it is closed afterwards.

    Raises:
        DocumentEmpty: There is not a byte.
        MediaTypeMismatch: It is no PDF.
        DocumentEncrypted: It needs a password.
        DocumentDamaged: It cannot be read.
    """
    if not document.data:
        raise DocumentEmpty
    if b"%PDF-" not in bytes(document.data[:HEADER_WITHIN]):
        raise MediaTypeMismatch
    whole = document.data.obj
    # A view's owner may hold more than the view shows.
    content = whole if isinstance(whole, bytes) and len(whole) == len(document.data) else bytes(document.data)
    try:
        pdf = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) in {c.FPDF_ERR_PASSWORD, c.FPDF_ERR_SECURITY}:
            raise DocumentEncrypted from None
        # pdfium opens no document without pages, and does not say why.
        if NO_PAGES.search(content) and not A_PAGE.search(content):
            raise DocumentEmpty from None
        raise DocumentDamaged from None
    try:
        yield pdf
    finally:
        pdf.close()
