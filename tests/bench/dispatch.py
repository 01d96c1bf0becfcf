"""Group `dispatch`: the server and the protocol, with a runner that only echoes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.processes import Troupe
from bench.rows import KIB, MIB, Cell, Figures, alternate
from bench.stage import Pace, Stage

CELLS: Mapping[str, tuple[str, str, Cell]] = {
    "dispatch_1k_c1_p50": ("process", "items", Cell(size_bytes=KIB, concurrency=1, figure="p50_s")),
    "dispatch_1k_c64_rate": ("process", "batches", Cell(size_bytes=KIB, concurrency=64, figure="rate")),
    "dispatch_64k_c1_p50": ("process", "items", Cell(size_bytes=64 * KIB, concurrency=1, figure="p50_s")),
    "dispatch_1m_c16_rate": ("process", "items", Cell(size_bytes=MIB, concurrency=16, figure="rate")),
    "chunked_10m_c1_p50": ("process", "chunks", Cell(size_bytes=10 * MIB, concurrency=1, figure="p50_s")),
    "inline_1k_c1_p50": ("inline", "unary", Cell(size_bytes=KIB, concurrency=1, figure="p50_s")),
}
"""For each row: how we send, how the limit sends, and what."""


def measure(folder: Path, pace: Pace) -> dict[str, Figures]:
    """Measure every row of the group, round by round."""
    measured = {name: Figures() for name in CELLS}
    with Troupe() as troupe:
        stage = Stage(troupe, folder, pace)
        relay = stage.relay()
        _, port = stage.server()
        stage.echo_runner(port)
        loads = {way: stage.load(way, relay) for way in ("items", "batches", "unary", "chunks")}
        loads.update({way: stage.load(way, port) for way in ("process", "inline")})
        for number in range(pace.rounds):
            for name, (ours, limit, cell) in CELLS.items():
                alternate(measured[name], number, ours=partial(loads[ours].figure, cell), limit=partial(loads[limit].figure, cell))
    return measured
