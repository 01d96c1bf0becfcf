"""Measure what loading a plugin and `transom_warm` leave behind: a process forked from there would inherit it.

Runs as a program of its own, since a process that has loaded the plugin before shows nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transom_plugin.loading import load
from transom_plugin.testing.capture import watched

TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Leavings:
    """What is there afterwards and was not before."""

    threads: int
    children: int
    files: int
    printed: int
    failure: str
    """Type of the exception that was raised; empty when none was."""


def measured(module: str, actions: Sequence[str]) -> Leavings:
    """Load and warm a plugin in a fresh process, and tell what it left behind."""
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "transom_plugin.testing.warmth", module, *actions]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return Leavings(0, 0, 0, 0, f"exit code {done.returncode}")
    return Leavings(**json.loads(done.stdout))


def _counts() -> tuple[int, int, set[str]]:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return threading.active_count(), 0, set()
    # Listing a folder opens it: only what two listings agree on counts.
    files = set(os.listdir("/proc/self/fd")) & set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths
    children = 0
    for task in tasks.iterdir():
        known = task / "children"
        children += len(known.read_text().split()) if known.exists() else 0
    return len(list(tasks.iterdir())), children, files


def main(module: str, actions: Sequence[str]) -> Leavings:
    """Load and warm a plugin in this process."""
    failure = ""
    threads, children, files = _counts()
    with watched() as printed:
        try:
            load(module).warm(actions)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a breach
            failure = type(error).__name__
    threads_after, children_after, files_after = _counts()
    return Leavings(threads_after - threads, children_after - children, len(files_after - files), printed.size, failure)


if __name__ == "__main__":
    result = main(sys.argv[1], sys.argv[2:])
    sys.stdout.write(json.dumps({name: getattr(result, name) for name in Leavings.__slots__}))
    sys.stdout.flush()
    # Threads that were left behind must not keep the measurement from ending.
    os._exit(0)
