"""Group `memory`: what the server holds while many times its budget passes, and what it gives back."""

from __future__ import annotations

import time
from pathlib import Path

from bench.processes import Troupe
from bench.rows import KIB, MIB, Figures
from bench.stage import Pace, Stage

BUDGET_BYTES = 128 * MIB
"""Little more than eight documents and their results need: with the default budget there would be nothing to miss."""
ALLOWED_BYTES = BUDGET_BYTES + 80 * MIB
DOCUMENTS = 100
CONCURRENCY = 8
PASS_WITHIN_S = 90.0
SETTLES_WITHIN_S = 10.0
LOOK_EVERY_S = 0.2
ROUNDS = 3


def measure(folder: Path, pace: Pace) -> dict[str, Figures]:
    """Measure the peak, and what is left; each round with a server of its own."""
    peak, settled = Figures(), Figures()
    for number in range(1 if pace.smoke else ROUNDS):
        with Troupe() as troupe:
            (folder / str(number)).mkdir()
            _pass_documents(Stage(troupe, folder / str(number), pace), peak, settled)
    return {"memory_peak": peak, "memory_settled": settled}


def _pass_documents(stage: Stage, peak: Figures, settled: Figures) -> None:
    config = stage.state.parent / "server.toml"
    config.write_text(f"memory_bytes = {BUDGET_BYTES}\n", "utf-8")
    server, port = stage.server("--config", str(config))
    stage.echo_runner(port)
    load = stage.load("process", port)
    # Idle means that everything is loaded, and that nothing large was ever held.
    load.send(KIB, 1, 1.0)
    idle = _rss(server.pid, "VmRSS")
    load.send(10 * MIB, CONCURRENCY, PASS_WITHIN_S, at_most=CONCURRENCY if stage.pace.smoke else DOCUMENTS)
    peak.ours.append(_rss(server.pid, "VmHWM"))
    peak.limit.append(ALLOWED_BYTES)
    until = time.monotonic() + SETTLES_WITHIN_S
    while (left := _rss(server.pid, "VmRSS")) > idle * 1.1 and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
    settled.ours.append(left)
    settled.limit.append(idle)


def _rss(pid: int, field: str) -> float:
    """Read a process's memory in bytes: `VmRSS` now, `VmHWM` at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) * KIB
    raise KeyError(field)
