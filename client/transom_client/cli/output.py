"""Print lines, columns and JSON, such that nothing in them can command a terminal."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

JSON: Final = "json"
TABLE: Final = "table"


def output_option(*kinds: str) -> Callable[[F], F]:
    """Add the option `-o`; the first kind is the default."""
    return click.option("-o", "--output", type=click.Choice(kinds), default=kinds[0], show_default=True, help="Form of the output.")


def clean(text: str, *, keep: str = "") -> str:
    """Replace characters that a terminal would act on."""
    return "".join(one if one in keep or unicodedata.category(one)[0] != "C" else " " for one in text)


def emit_json(shape: Mapping[str, object]) -> None:
    """Print one JSON document on a line of its own, its keys in order."""
    click.echo(json.dumps(shape, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def emit_columns(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their headers, each column as wide as it needs."""
    lines = [list(headers), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def moment(at: datetime | None) -> str:
    """Return a moment in local time for people; a dash for none."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at is not None else "-"


def iso(at: datetime | None) -> str | None:
    """Return a moment for programs."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else None
