"""The benchmark itself runs and says what it should; no figure is ever judged here."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from bench.dispatch import CELLS
from bench.report import keep, table
from bench.rows import ROWS, Figures, alternate, row

HERE = Path(__file__).resolve().parent
WITHIN_S = 90.0


@pytest.mark.timeout(100)
async def test_the_dispatch_group_measures_every_row_beside_its_limit(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    output.write_text('{"ocr_pages_rate": {"ratio": 1.0, "limit": 2.0, "ours": 2.0, "rounds": 3}}')
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE), "--group", "dispatch", "--output", str(output),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "SMOKE": "1"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    results = json.loads(output.read_text())
    assert set(results) == {"ocr_pages_rate", *CELLS}, "rows of other groups stay"
    for name in CELLS:
        assert set(results[name]) == {"ratio", "limit", "ours", "rounds"}
        assert results[name]["ratio"] == pytest.approx(results[name]["ours"] / results[name]["limit"], rel=0.01)
        assert name.encode() in printed


def test_sides_take_turns_in_coming_first() -> None:
    order: list[str] = []
    figures = Figures()

    def measured(side: str, value: float) -> float:
        order.append(side)
        return value

    for number in range(2):
        alternate(figures, number, ours=partial(measured, "ours", 3.0), limit=partial(measured, "limit", 2.0))
    assert order == ["limit", "ours", "ours", "limit"]
    assert figures.ratio() == 1.5


def test_a_time_is_met_by_a_low_ratio_and_a_rate_by_a_high_one() -> None:
    assert row("dispatch_1k_c1_p50").met(1.8)
    assert not row("dispatch_1k_c1_p50").met(1.81)
    assert row("dispatch_1k_c64_rate").met(0.12)
    assert not row("dispatch_1k_c64_rate").met(0.11)
    assert row("full_1k_c8_rate").met(0.0), "it has no target"


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({one.name for one in ROWS}) == len(ROWS)


def test_a_missed_target_is_shown_and_medians_are_kept(tmp_path: Path) -> None:
    measured = {"inline_1k_c1_p50": Figures(ours=[0.004, 0.006, 0.005], limit=[0.001, 0.002, 0.003])}
    assert " NO " in table(measured)
    keep(tmp_path / "build" / "bench.json", measured)
    assert json.loads((tmp_path / "build" / "bench.json").read_text()) == {
        "inline_1k_c1_p50": {"ratio": 2.5, "limit": 0.002, "ours": 0.005, "rounds": 3}
    }
