"""Read text from images with Tesseract."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from transom_plugin import (
    Context,
    Document,
    Image,
    Input,
    Output,
    Page,
    PluginError,
    Stopped,
    TooManyPages,
    TooManyPixels,
    hookimpl,
    selected,
)

from transom_plugin_tesseract.engine import ACTION, DEFAULT_LANGUAGE, Engine
from transom_plugin_tesseract.opening import opened
from transom_plugin_tesseract.orientation import Picture

# Loaded by `transom_warm` in the template; every worker inherits it.
_engine = Engine()


@hookimpl
def transom_warm() -> None:
    """Load Tesseract and its English model."""
    _engine.prepared()


@hookimpl
def transom_run(action: str, inputs: Iterator[Input], context: Context) -> Iterable[Output] | None:
    """Answer for `tesseract.read`."""
    return _pages(inputs, context) if action == ACTION else None


def _pages(inputs: Iterator[Input], context: Context) -> Iterator[Output]:
    # Before any input: a language that is missing is no fault of a page.
    _engine.prepared(context.parameters.get("language", DEFAULT_LANGUAGE))
    for done, given in enumerate(inputs):
        context.check()
        if isinstance(given, Document):
            yield from _document(given, context)
        else:
            context.progress(done, given.pages)
            yield _image(given, context)


def _document(document: Document, context: Context) -> Iterator[Page]:
    with opened(document, context.limits) as scan:
        numbers = selected(context.parameters.get("pages"), scan.count)
        if len(numbers) > context.limits.max_pages:
            raise TooManyPages
        for done, number in enumerate(numbers):
            context.check()
            context.progress(done, len(numbers))
            started = time.perf_counter()
            try:
                yield _engine.read(scan.picture(number, len(numbers)), context, started)
            except PluginError as error:
                if scan.count == 1 or isinstance(error, Stopped):
                    raise
                yield Page.failed(document.index, number, ACTION, error, pages=len(numbers))


def _image(image: Image, context: Context) -> Page:
    started = time.perf_counter()
    try:
        if image.width * image.height > context.limits.max_pixels:
            raise TooManyPixels
        return _engine.read(Picture(image=image, dpi=image.dpi), context, started)
    except Stopped:
        raise
    except PluginError as error:
        return Page.failed(image.document, image.page, ACTION, error, pages=image.pages)
