"""Send the same documents through Transom and through what users would pick instead: `python tests/bench/peers`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# The folder itself is run, so the folder of the tests is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.peers.compare import measure
from bench.peers.field import PEERS
from bench.peers.results import keep, machine, table
from bench.stage import Pace

RESULTS = Path(__file__).resolve().parents[3] / "build" / "bench-peers.json"
SECONDS, ROUNDS = 1.0, 3
NO_ROUND_AFTER_S = 440.0


def main() -> int:
    """Measure the peers that are here; one that is not is told in words, and is no error."""
    parser = argparse.ArgumentParser(prog="tests/bench/peers", description=__doc__)
    parser.add_argument("--peer", choices=[peer.name for peer in PEERS], action="append", help="may be repeated (default: all)")
    parser.add_argument("--rounds", type=int, help=f"how often each row is measured (default: {ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"how long one measurement takes (default: {SECONDS})")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file of results (default: build/bench-peers.json)")
    options = parser.parse_args()
    started = time.monotonic()
    full = os.environ.get("SMOKE") != "1"
    pace = Pace.of_environment(options.seconds or (SECONDS if full else None), options.rounds or (ROUNDS if full else None))
    peers = [peer for peer in PEERS if not options.peer or peer.name in options.peer]
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as folder:
        compared, left_out = measure(Path(folder), pace, peers, started + NO_ROUND_AFTER_S)
    keep(options.output, compared, left_out)
    print(f"{machine()}, {pace.rounds} rounds of {pace.seconds:g} s, {time.monotonic() - started:.0f} s in all")
    print("x is ours as a multiple of the peer's: a time is better below 1, a rate above\n")
    print(table(compared), *left_out.values(), sep="\n\n", flush=True)
    for peer in peers:
        print(f"{peer.name}: {peer.keeps}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
