"""Start the programs of a benchmark, hear what they say, and end them whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, Self

TESTS = Path(__file__).resolve().parents[1]
READY_WITHIN_S = 30.0
ENDS_WITHIN_S = 10.0


class Broken(Exception):
    """A program of the benchmark ended, or said nothing for too long."""


class Program:
    """A child process that ends when its standard input does, so that none outlives the benchmark.

    One of its output streams is read line by line in a thread, so that the child never waits for a reader.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        hear: Literal["stdout", "stderr"] = "stdout",
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        self.name = name
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        # PYTHONSAFEPATH keeps the folder that we were called from off the path.
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", **(environment or {})}
        self._process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if hear == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if hear == "stderr" else None,
            env=variables,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        heard = self._process.stdout if hear == "stdout" else self._process.stderr
        assert heard is not None
        self._ear = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._ear.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _listen(self, heard: IO[bytes]) -> None:
        for line in heard:
            self._lines.put(line.decode("utf-8", "replace"))
        self._lines.put(None)

    def _line(self, until: float) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise Broken(f"{self.name} said nothing in time") from None
        if line is None:
            raise Broken(f"{self.name} ended, status {self._process.poll()}")
        return line

    def hear(self, event: str, within_s: float = READY_WITHIN_S) -> dict[str, Any]:
        """Wait for the JSON line with this event; lines of other kinds are passed over."""
        until = time.monotonic() + within_s
        while True:
            with contextlib.suppress(ValueError):
                said = json.loads(self._line(until))
                if isinstance(said, dict) and said.get("event") == event:
                    return said

    def skip(self) -> None:
        """Pass over what was said so far, as long as the program lives."""
        with contextlib.suppress(queue.Empty):
            while (line := self._lines.get_nowait()) is not None:
                pass
            self._lines.put(line)

    def ask(self, within_s: float, **question: Any) -> dict[str, Any]:
        """Send a question as a JSON line, and wait for the answer."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(question).encode() + b"\n")
            pipe.flush()
        except OSError:
            raise Broken(f"{self.name} ended, status {self._process.poll()}") from None
        return self.hear("answer", within_s)

    def dismiss(self) -> None:
        """Close the child's standard input, which asks it to end."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def end(self) -> None:
        """Wait for the end, and force it if need be."""
        self.dismiss()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(ENDS_WITHIN_S)
        self._ear.join(ENDS_WITHIN_S)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


class Troupe:
    """All programs of one group; leaving it ends them, the last one started first."""

    def __init__(self) -> None:
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self._programs):
            program.end()

    def start(
        self,
        name: str,
        *arguments: str,
        hear: Literal["stdout", "stderr"] = "stdout",
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> Program:
        """Start a program."""
        program = Program(name, *arguments, hear=hear, environment=environment, python=python)
        self._programs.append(program)
        return program


def run_once(*arguments: str, within_s: float = READY_WITHIN_S) -> str:
    """Run a command of ours to its end, and return what it printed.

    Raises:
        Broken: It failed.
    """
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=within_s, check=False)
    if done.returncode:
        raise Broken(f"{arguments[1]} failed: {done.stderr[-500:]}")
    return done.stdout.strip()
