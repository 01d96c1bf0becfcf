"""Print the rows that were measured, and keep them beside those of other groups."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench.rows import ROWS, Figures, Row, row

SCALE = {"ms": 1e3, "MiB": 1 / 1024**2}


def _line(of: Row, figures: Figures) -> tuple[str, ...]:
    scale = SCALE.get(of.unit, 1)
    ratio = figures.ratio()
    sign = "<=" if of.lower_is_better else ">="
    target = f"{sign} {of.target:g}" if of.target is not None else "-"
    met = ("yes" if of.met(ratio) else "NO") if of.target is not None else "-"
    numbers = [f"{median(values) * scale:.2f} {of.unit}" for values in (figures.ours, figures.limit)]
    spread = [f"{ours / limit:.2f}" for ours, limit in zip(figures.ours, figures.limit, strict=True)]
    return of.name, *numbers, f"{ratio:.3f}", target, met, of.limit, " ".join(spread)


def table(measured: Mapping[str, Figures]) -> str:
    """Lay the rows out for people, with the ratio of every round."""
    lines: list[tuple[str, ...]] = [("row", "ours", "limit", "ratio", "target", "met", "the limit is", "rounds")]
    lines += [_line(one, measured[one.name]) for one in ROWS if one.name in measured]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def keep(path: Path, measured: Mapping[str, Figures]) -> None:
    """Merge the rows into the file of results; rows of groups that did not run stay."""
    known: dict[str, dict[str, float]] = {}
    if path.exists():
        known = json.loads(path.read_text("utf-8"))
    for name, figures in measured.items():
        known[row(name).name] = {
            "ratio": round(figures.ratio(), 4),
            "limit": median(figures.limit),
            "ours": median(figures.ours),
            "rounds": len(figures.ours),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")
    temporary.replace(path)
