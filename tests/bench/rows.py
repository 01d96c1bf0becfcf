"""Every row of the benchmarks: what is measured, beside which limit, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of load."""

    size_bytes: int
    concurrency: int
    figure: Literal["p50_s", "rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of ours and its limit. A time is good when its ratio is low, a rate when it is high."""

    name: str
    group: Literal["dispatch", "full", "ocr", "memory"]
    limit: str
    """What it is compared with, in words."""
    target: float | None
    """The ratio that is asked for; None where a figure is only reported."""
    lower_is_better: bool
    unit: str

    def met(self, ratio: float) -> bool:
        """Say whether a ratio is good enough."""
        return self.target is None or (ratio <= self.target if self.lower_is_better else ratio >= self.target)


@dataclass(slots=True)
class Figures:
    """What was measured for one row, round by round."""

    ours: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        """Return the median of ours as a multiple of the median of the limit."""
        return median(self.ours) / median(self.limit)


Measure = Callable[[], float]


def alternate(figures: Figures, number: int, *, ours: Measure, limit: Measure) -> None:
    """Measure both sides once, in the order that the round's number says, so that neither always comes first."""
    pair = [(figures.limit, limit), (figures.ours, ours)]
    for values, measure in pair if number % 2 == 0 else reversed(pair):
        values.append(measure())


def _time(name: str, group: Literal["dispatch", "full"], limit: str, target: float) -> Row:
    return Row(name=name, group=group, limit=limit, target=target, lower_is_better=True, unit="ms")


def _rate(name: str, group: Literal["dispatch", "full", "ocr"], limit: str, target: float | None, unit: str = "1/s") -> Row:
    return Row(name=name, group=group, limit=limit, target=target, lower_is_better=False, unit=unit)


def _memory(name: str, limit: str, target: float) -> Row:
    return Row(name=name, group="memory", limit=limit, target=target, lower_is_better=True, unit="MiB")


ROWS: Sequence[Row] = (
    _time("dispatch_1k_c1_p50", "dispatch", "R", 1.8),
    _rate("dispatch_1k_c64_rate", "dispatch", "RB", 0.12),
    _time("dispatch_64k_c1_p50", "dispatch", "R", 1.6),
    _rate("dispatch_1m_c16_rate", "dispatch", "R", 0.75),
    _time("chunked_10m_c1_p50", "dispatch", "chunked relay", 1.4),
    _time("inline_1k_c1_p50", "dispatch", "unary relay", 1.8),
    _time("full_1k_c1_p50", "full", "R + one bare fork", 1.6),
    _rate("full_1k_c8_rate", "full", "bare forks one by one", None),
    _rate("ocr_pages_rate", "ocr", "process pool", 0.92, "pages/s"),
    _memory("memory_peak", "budget + 80 MiB", 1.0),
    _memory("memory_settled", "idle before", 1.1),
)
"""In the order in which they are printed."""


def row(name: str) -> Row:
    """Return a row by its name."""
    return next(one for one in ROWS if one.name == name)
