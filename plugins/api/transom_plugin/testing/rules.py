"""Say what outputs must look like. Messages name the rule and the place, never content."""

from __future__ import annotations

import math
from collections.abc import Sequence

from transom_plugin import errors
from transom_plugin.manifest import ActionEntry
from transom_plugin.values import Image, Output, Page, Part, Span, Word

KINDS: dict[str, tuple[type, ...]] = {"page": (Page,), "image": (Image,), "pages": (Page, Image), "part": (Part,)}
REASONS = frozenset(
    kind.reason for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PluginError)
)  # fmt: skip
CORNERS = 8
TELLING = 12
"""Characters of text that cannot stand in a `repr` by chance."""


class Breach(AssertionError):
    """The plugin breaks a rule."""


def require(kept: bool, rule: str) -> None:
    """Raise a breach unless a rule is kept.

    Raises:
        Breach: It is not.
    """
    if not kept:
        raise Breach(rule)


def check_outputs(action: ActionEntry, document: int, outputs: Sequence[Output]) -> None:
    """Check everything that a call answered about one document.

    Raises:
        Breach: A rule is broken.
    """
    last = 0
    for place, output in enumerate(outputs):
        where = f"output {place} of {action.name}"
        require(
            isinstance(output, KINDS[action.produces]), f"{where} is a {type(output).__name__}, and the manifest says {action.produces}"
        )
        require(output.document == document, f"{where} belongs to document {output.document}, and was made from {document}")
        if isinstance(output, Part):
            require("/" in output.media_type, f"{where} has no media type")
            continue
        number = output.number if isinstance(output, Page) else output.page
        require(number > last, f"{where}: page numbers must ascend from 1")
        last = number
        if isinstance(output, Page):
            check_page(action, output, where)
        else:
            check_image(output, where)


def check_page(action: ActionEntry, page: Page, where: str) -> None:
    """Check one page.

    Raises:
        Breach: A rule is broken.
    """
    require(page.engine == action.name, f"{where}: engine must be the action's name")
    require(page.pages >= 0 and page.elapsed_ms >= 0, f"{where}: pages and elapsed_ms are never negative")
    require(page.rotation in {0, 90, 180, 270}, f"{where}: rotation must be 0, 90, 180 or 270")
    if page.error is not None:
        require(page.error.reason in REASONS, f"{where}: the error's reason is not one of transom_plugin.errors")
        require(not page.words, f"{where}: a page that failed has no words")
        return
    require(page.width > 0 and page.height > 0, f"{where}: width and height must be known")
    for index, word in enumerate(page.words):
        check_word(word, f"word {index} of {where}")
    check_spans("lines", page.lines, len(page.words), where)
    check_spans("blocks", page.blocks, len(page.words), where)
    require(
        sum(line.count for line in page.lines) == len(page.words), f"{where}: each word must be in a line, or it is missing in the text"
    )
    check_silence(page, where)


def check_word(word: Word, where: str) -> None:
    """Check one word.

    Raises:
        Breach: A rule is broken.
    """
    require(bool(word.text) and word.text == word.text.strip(), f"{where}: text must be there, without white space around it")
    require(len(word.polygon) == CORNERS, f"{where}: polygon must have four corners, which are 8 numbers")
    require(all(_share(value) for value in word.polygon), f"{where}: polygon must be within 0..1 of the page")
    require(word.confidence is None or _share(word.confidence), f"{where}: confidence must be None or within 0..1")


def check_spans(name: str, spans: Sequence[Span], words: int, where: str) -> None:
    """Check lines or blocks.

    Raises:
        Breach: A rule is broken.
    """
    end = 0
    for span in spans:
        require(span.count > 0, f"{where}: {name} must not be empty")
        require(span.first >= end, f"{where}: {name} must ascend and not overlap")
        end = span.first + span.count
    require(end <= words, f"{where}: {name} must lie within the words")


def check_image(image: Image, where: str) -> None:
    """Check a page as pixels.

    Raises:
        Breach: A rule is broken.
    """
    require(image.channels in {1, 3}, f"{where}: channels must be 1 or 3")
    require(image.width > 0 and image.height > 0, f"{where}: width and height must be known")
    require(len(image.data) == image.width * image.height * image.channels, f"{where}: data must be width * height * channels bytes")
    require(image.dpi > 0, f"{where}: dpi must be known")


def check_silence(page: Page, where: str) -> None:
    """Check that content does not show in a `repr`, from where it would get into logs.

    Raises:
        Breach: It does.
    """
    shown = repr(page) + "".join(repr(word) for word in page.words)
    telling = [text for text in [*page.text.splitlines(), *(word.text for word in page.words)] if len(text) >= TELLING]
    require(not any(text in shown for text in telling), f"{where}: text must not show in a repr")


def _share(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1
