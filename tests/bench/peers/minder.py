"""Mind a program that is not ours: wait until it answers, and end it with all its children when our input ends."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.child import say

ANSWERS_WITHIN_S = 60.0
ENDS_WITHIN_S = 5.0
LOOK_EVERY_S = 0.05
SHOWN_BYTES = 2000


def answers(port: int) -> bool:
    """Say whether somebody listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(child: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the child answers on its port; False if it ended or took too long."""
    until = time.monotonic() + ANSWERS_WITHIN_S
    while time.monotonic() < until and child.poll() is None:
        if answers(port):
            return True
        time.sleep(LOOK_EVERY_S)
    return False


def end(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started, first kindly."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(ENDS_WITHIN_S)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, help="wait until something listens there")
    parser.add_argument("--log", type=Path, required=True, help="the file that takes what the program prints")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    # A signal goes to the whole group of the benchmark; we still have somebody to end, and do so when our input ends.
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: None)
    with options.log.open("wb") as log:
        # A session of its own is a group that can be ended as one.
        child = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        if options.port and not wait_for(child, options.port):
            print(options.log.read_bytes()[-SHOWN_BYTES:].decode("utf-8", "replace"), file=sys.stderr)
            return 1
        say("ready")
        sys.stdin.read()
    finally:
        end(child)
    return 0


if __name__ == "__main__":
    sys.exit(main())
