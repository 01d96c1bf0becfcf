"""Group `full`: the whole path, through the real runner and a process forked for each document."""

from __future__ import annotations

from pathlib import Path

from bench.processes import Troupe
from bench.rows import KIB, Cell, Figures, alternate
from bench.stage import Pace, Stage

ONE = Cell(size_bytes=KIB, concurrency=1, figure="p50_s")
MANY = Cell(size_bytes=KIB, concurrency=8, figure="rate")
ANSWER_MARGIN_S = 60.0


def measure(folder: Path, pace: Pace) -> dict[str, Figures]:
    """Measure the time of one document and the rate of many, beside a bare relay and bare forks."""
    time, rate = Figures(), Figures()
    with Troupe() as troupe:
        stage = Stage(troupe, folder, pace)
        template = stage.program("limits.fork")
        template.hear("ready")
        items = stage.load("items", stage.relay())
        _, port = stage.server()
        stage.runner(port, plugins=("bench",))
        ours = stage.load("process", port)

        def fork_s() -> float:
            return float(template.ask(pace.seconds + ANSWER_MARGIN_S, seconds=pace.seconds)["p50_s"])

        for number in range(pace.rounds):
            alternate(time, number, ours=lambda: ours.figure(ONE), limit=lambda: items.figure(ONE) + fork_s())
            alternate(rate, number, ours=lambda: ours.figure(MANY), limit=lambda: 1 / fork_s())
    return {"full_1k_c1_p50": time, "full_1k_c8_rate": rate}
