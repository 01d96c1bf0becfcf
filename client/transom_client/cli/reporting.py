"""Print a run's results as they come, in one of three forms, and how far it is, where somebody watches."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import click

from transom_client.cli.exits import explain
from transom_client.cli.output import clean, emit_json
from transom_client.cli.shapes import outcome_shape, page_shape, part_shape
from transom_client.events import Outcome, PageDone, PartDone

FIRST_LINE_LEAST: Final = 40


class Reporter(Protocol):
    """One form of output."""

    def page(self, done: PageDone) -> None:
        """Print a page."""

    def part(self, done: PartDone) -> None:
        """Print a part that is not a page."""

    def outcome(self, outcome: Outcome, run: str) -> None:
        """Print how the run ended."""


class JsonReporter:
    """One JSON document a line: pages and parts as they come, and the outcome last."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files

    def page(self, done: PageDone) -> None:
        """Print a page."""
        emit_json(page_shape(done, self._files[done.document]))

    def part(self, done: PartDone) -> None:
        """Print a part, its bytes in base64."""
        emit_json(part_shape(done, self._files[done.document]))

    def outcome(self, outcome: Outcome, run: str) -> None:
        """Print the outcome."""
        emit_json(outcome_shape(outcome, run))


class TextReporter:
    """Text only: pages as they come, each followed by a form feed; parts that are not text are left out."""

    def page(self, done: PageDone) -> None:
        """Print a page's text."""
        if done.page.error is not None:
            explain(done.page.error)
            return
        click.echo(clean(done.page.text, keep="\n\t"))
        click.echo("\f", nl=False)

    def part(self, done: PartDone) -> None:
        """Print a part, if it is text."""
        if done.media_type.startswith(("text/", "application/json")):
            click.echo(clean(done.data.decode("utf-8", "replace"), keep="\n\t"))

    def outcome(self, outcome: Outcome, run: str) -> None:
        """Say only what went wrong."""
        _explain_end(outcome)


class TableReporter:
    """A row for each page; widths are settled before the first row, since rows are printed as they come."""

    HEADERS = ("document", "page", "engine", "words", "conf", "ms", "text")

    def __init__(self, files: Sequence[str]) -> None:
        self._files = [clean(Path(file).name) for file in files]
        self._widths = [min(max(8, *map(len, self._files)), 28), 4, 16, 5, 4, 6]
        left = shutil.get_terminal_size((120, 24)).columns - sum(self._widths) - 2 * len(self._widths)
        self._text_width = max(FIRST_LINE_LEAST, left)
        self._begun = False

    def page(self, done: PageDone) -> None:
        """Print a page's row."""
        page = done.page
        if page.error is not None:
            self._row(done.document, str(page.number), page.engine, "-", "-", "-", f"failed: {page.error.message}")
            return
        confidence = page.mean_confidence
        first = next((line for line in page.text.splitlines() if line.strip()), "")
        self._row(
            done.document, str(page.number), page.engine, str(len(page.words)), "-" if confidence is None else f"{confidence:.2f}",
            f"{page.elapsed_ms:.0f}", first,
        )  # fmt: skip

    def part(self, done: PartDone) -> None:
        """Print a part's row: its type and size stand for its text."""
        self._row(done.document, str(done.page or "-"), "-", "-", "-", "-", f"{done.media_type}, {len(done.data)} bytes")

    def outcome(self, outcome: Outcome, run: str) -> None:
        """Print one line on success, to stderr: the table is for pages."""
        if outcome.succeeded:
            failed = f", {outcome.pages_failed} failed" if outcome.pages_failed else ""
            click.echo(f"{run}: {outcome.pages} pages{failed} in {outcome.total_s:.2f} s", err=True)
        _explain_end(outcome)

    def _row(self, document: int, *cells: str) -> None:
        if not self._begun:
            self._begun = True
            self._line(*self.HEADERS)
        self._line(self._files[document], *cells)

    def _line(self, *cells: str) -> None:
        fixed = [_fit(clean(cell), width) for cell, width in zip(cells, self._widths, strict=False)]
        click.echo("  ".join([*fixed, _fit(clean(cells[-1]), self._text_width)]).rstrip())


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _explain_end(outcome: Outcome) -> None:
    if outcome.error is not None:
        explain(outcome.error)
    elif not outcome.succeeded:
        click.echo(f"error: the run ended as {outcome.state.name}", err=True)


class Status:
    """One line on stderr that says how far things are, where stderr is a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = False
        self._watched = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._watched:
            click.echo(f"\r\x1b[2K{text}", nl=False, err=True)
            self._shown = True

    def clear(self) -> None:
        """Remove the line, so that results can be printed."""
        if self._shown:
            click.echo("\r\x1b[2K", nl=False, err=True)
            self._shown = False
