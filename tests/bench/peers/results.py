"""Lay the comparisons out for people, and keep them for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.rows import KIB, MIB

OURS = ("echo", "forked")
FIGURES = ("p50_s", "rate")
HEAD = ("peer", "size", "at once", "its p50", "its rate", *(f"{side} {column}" for side in OURS for column in ("p50", "x", "rate", "x")))


@dataclass(slots=True)
class Comparison:
    """One kind of load: what the peer took, and what we took in the same rounds."""

    peer: str
    size_bytes: int
    concurrency: int
    answers: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)

    def add(self, side: str, answer: Mapping[str, float]) -> None:
        """Keep what one side took in one round."""
        self.answers.setdefault(side, []).append(answer)

    def rounds(self) -> int:
        """Return how many rounds every side went through."""
        return min((len(answers) for answers in self.answers.values()), default=0)

    def median(self, side: str, figure: str) -> float:
        """Return the median of a side's figure over the rounds."""
        return median(answer[figure] for answer in self.answers[side])

    def ratio(self, side: str, figure: str) -> float:
        """Return one of ours as a multiple of the peer's."""
        return self.median(side, figure) / self.median("peer", figure)


def size(size_bytes: int) -> str:
    """Say a size as people do."""
    return f"{size_bytes // MIB} MiB" if size_bytes >= MIB else f"{size_bytes // KIB} KiB"


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def _line(one: Comparison) -> tuple[str, ...]:
    figures = [f"{one.median('peer', 'p50_s') * 1e3:.2f} ms", _rate(one.median("peer", "rate"))]
    for side in OURS:
        figures += [f"{one.median(side, 'p50_s') * 1e3:.2f} ms", _ratio(one.ratio(side, "p50_s"))]
        figures += [_rate(one.median(side, "rate")), _ratio(one.ratio(side, "rate"))]
    return one.peer, size(one.size_bytes), str(one.concurrency), *figures


def table(compared: Sequence[Comparison]) -> str:
    """Lay the comparisons out as a table that Markdown knows too."""
    lines = [HEAD, *map(_line, compared)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    laid = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines]
    laid.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in laid)


def machine() -> dict[str, Any]:
    """Say where this was measured."""
    return {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def keep(path: Path, compared: Sequence[Comparison], left_out: Mapping[str, str]) -> None:
    """Write the file of results anew."""
    rows = [
        {
            "peer": one.peer,
            "size_bytes": one.size_bytes,
            "concurrency": one.concurrency,
            "rounds": one.rounds(),
            "figures": {side: {figure: one.median(side, figure) for figure in FIGURES} for side in one.answers},
            "ratios": {side: {figure: round(one.ratio(side, figure), 4) for figure in FIGURES} for side in OURS},
        }
        for one in compared
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"machine": machine(), "rows": rows, "left_out": dict(left_out)}, indent=2) + "\n", "utf-8")
    temporary.replace(path)
