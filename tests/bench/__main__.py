"""Compare Transom with the limits of this machine: `python tests/bench [--group dispatch|full|ocr|memory]`."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

# The folder itself is run, so its parent is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import keep, table
from bench.rows import Figures
from bench.stage import Pace

GROUPS = ("dispatch", "full", "ocr", "memory")
RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main() -> int:
    """Measure the groups that are asked for; a row that misses its target is shown, and is no error."""
    parser = argparse.ArgumentParser(prog="tests/bench", description=__doc__)
    parser.add_argument("--group", choices=GROUPS, action="append", help="may be repeated (default: all)")
    parser.add_argument("--rounds", type=int, help="how often each row is measured (default: 5)")
    parser.add_argument("--seconds", type=float, help="how long one measurement takes (default: 2)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file of results (default: build/bench.json)")
    options = parser.parse_args()
    pace = Pace.of_environment(options.seconds, options.rounds)
    for group in options.group or GROUPS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="transom-bench-") as folder:
            measured: dict[str, Figures] = importlib.import_module(f"bench.{group}").measure(Path(folder), pace)
        keep(options.output, measured)
        print(f"{group}, {time.monotonic() - started:.0f} s\n{table(measured)}\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
