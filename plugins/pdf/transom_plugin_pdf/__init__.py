"""Split a PDF into pages: text where the file has it, images elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import pypdfium2 as pdfium
from transom_plugin import (
    BadParameters,
    Context,
    Document,
    DocumentEmpty,
    Image,
    Input,
    Output,
    Page,
    PageUnreadable,
    PluginError,
    TooManyPages,
    hookimpl,
    selected,
)

from transom_plugin_pdf.opening import Leaf, opened
from transom_plugin_pdf.raster import rasterised
from transom_plugin_pdf.text import has_text, read_text

ACTION = "pdf.pages"
DEFAULT_DPI = 200


@hookimpl
def transom_warm() -> None:
    """Let pdfium set itself up: the first document costs more than all others."""
    document = pdfium.PdfDocument.new()
    document.new_page(100, 100).render(scale=1)
    document.close()


@hookimpl
def transom_run(action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output] | None:
    """Answer for `pdf.pages`."""
    return _pages(inputs, context) if action == ACTION else None


def _pages(inputs: Iterator[Input], context: Context) -> Iterator[Output]:
    for given in inputs:
        if not isinstance(given, Document):
            raise BadParameters
        with opened(given) as pdf:
            if len(pdf) == 0:
                raise DocumentEmpty
            numbers = selected(context.parameters.get("pages"), len(pdf))
            if len(numbers) > context.limits.max_pages:
                raise TooManyPages
            for done, number in enumerate(numbers):
                context.check()
                context.progress(done, len(numbers))
                yield _page(given, pdf, number, len(numbers), context)


def _page(document: Document, pdf: pdfium.PdfDocument, number: int, count: int, context: Context) -> Page | Image:
    started = time.perf_counter()
    try:
        page = pdf[number - 1]
    except pdfium.PdfiumError:
        return Page.failed(document.index, number, ACTION, PageUnreadable(), pages=count)
    leaf = Leaf(document=document.index, number=number, count=count, page=page)
    try:
        layer = context.parameters.get("text_layer", "auto")
        textpage = page.get_textpage()
        if layer == "always" or (layer == "auto" and has_text(page, textpage)):
            return read_text(leaf, textpage, started)
        return rasterised(leaf, context.parameters.get("dpi", DEFAULT_DPI), context.limits)
    except pdfium.PdfiumError:
        return Page.failed(document.index, number, ACTION, PageUnreadable(), pages=count)
    except PluginError as error:
        return Page.failed(document.index, number, ACTION, error, pages=count)
    finally:
        page.close()
