"""The bare fork: a template as warm as the echo plugin's, which forks a process that ends at once, and waits for it."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from statistics import median

from bench.child import say


def warm() -> None:
    """Load what a template of the echo plugin loads."""
    from transom_plugin import load
    from transom_runner import worker_main

    load("bench.echo_plugin").warm(["bench.echo"])
    assert worker_main
    gc.collect()
    gc.freeze()


def forked() -> float:
    """Fork, and wait for the end; returns the seconds it took."""
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return time.perf_counter() - started


def main() -> None:
    argparse.ArgumentParser().parse_args()
    warm()
    say("ready")
    for line in sys.stdin:
        end = time.monotonic() + json.loads(line)["seconds"]
        elapsed = [forked()]
        while time.monotonic() < end:
            elapsed.append(forked())
        say("answer", p50_s=median(elapsed), count=len(elapsed))


if __name__ == "__main__":
    main()
