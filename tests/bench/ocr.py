"""Group `ocr`: `ocr.auto` on scanned pages with all cores, beside a plain process pool that makes the same calls."""

from __future__ import annotations

import time
from pathlib import Path

from samples import scans

from bench.processes import Broken, Program, Troupe
from bench.rows import Figures, alternate
from bench.stage import Pace, Stage

PAGES = 40
FEW_PAGES = 4
READ_WITHIN_S = 300.0
GROUP_S = 220.0
"""After this no further round is begun, as long as there were three."""
LEAST_ROUNDS = 3
WORDS_WITHIN = 0.02
"""How far the words that both sides found may be apart."""


def measure(folder: Path, pace: Pace) -> dict[str, Figures]:
    """Measure pages per second."""
    begun = time.monotonic()
    count = FEW_PAGES if pace.smoke else PAGES
    paths = {}
    for pages in (2, count):
        paths[pages] = folder / f"{pages}.pdf"
        paths[pages].write_bytes(scans(pages).data)
    figures = Figures()
    with Troupe() as troupe:
        stage = Stage(troupe, folder, pace)
        pool = stage.program("limits.pool", environment={"OMP_THREAD_LIMIT": "1"})
        pool.hear("ready")
        _, port = stage.server()
        stage.runner(port, plugins=("pdf", "tesseract"))
        ours = stage.program("pages", "--state", str(stage.state), "--port", str(port))
        ours.hear("ready")
        agree(_read(ours, paths[2], 2)[1], _read(pool, paths[2], 2)[1])
        for number in range(pace.rounds):
            alternate(figures, number, ours=lambda: _read(ours, paths[count], count)[0], limit=lambda: _read(pool, paths[count], count)[0])
            if number + 1 >= LEAST_ROUNDS and time.monotonic() - begun > GROUP_S:
                break
    return {"ocr_pages_rate": figures}


def agree(ours: float, limit: float) -> None:
    """Refuse a comparison of sides that do not do the same work."""
    if not ours or abs(ours - limit) > WORDS_WITHIN * limit:
        raise Broken(f"the sides found {ours:.0f} and {limit:.0f} words: they do not do the same work")


def _read(program: Program, path: Path, pages: int) -> tuple[float, float]:
    answer = program.ask(READ_WITHIN_S, path=str(path), pages=pages)
    if answer.get("pages", pages) != pages:
        raise Broken("not every page came back")
    return pages / answer["elapsed_s"], answer["words"]
