"""One process that we start and watch: what it says on stderr, and how it is ended. It never outlives this one."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

KILL_AFTER_S: Final = 2.0
LINE_BYTES: Final = 64 * 1024
MAX_LOG_BYTES: Final = 16 * 1024 * 1024


class ChildFailed(Exception):
    """A process that we started ended, or did not say in time what was waited for."""


class Child:
    """A module of Python run as a process. Its standard input is a pipe: when we die, however we die, it sees the end of it."""

    def __init__(self, name: str, arguments: Sequence[str], *, log: Path | None = None) -> None:
        """Describe the process.

        Args:
            name: What it is called in messages.
            arguments: Module and its arguments.
            log: File that takes what it writes to stderr; dropped when None.
        """
        self.name = name
        self._arguments = arguments
        self._log_path = log
        self._log: BinaryIO | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._events: dict[str, Mapping[str, object]] = {}
        self._heard = asyncio.Event()
        self._complaint = ""

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start it, in a process group of its own: Ctrl-C reaches us only, and we end it in order."""
        if self._log_path is not None:
            self._log = self._log_path.open("wb", buffering=0)
        pipe, drop = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", *self._arguments, stdin=pipe, stdout=drop, stderr=pipe, limit=LINE_BYTES, start_new_session=True
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read(), name=f"stderr of {self.name}")

    async def event(self, name: str, within_s: float) -> Mapping[str, object]:
        """Wait until it logs an event; returns the event's fields, of its first time.

        Raises:
            ChildFailed: It ended, or did not log the event in time.
        """
        try:
            async with asyncio.timeout(within_s):
                while name not in self._events:
                    if self._reader is None or self._reader.done():
                        raise ChildFailed(self._complaint or f"the {self.name} ended before it was ready")
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise ChildFailed(f"the {self.name} was not ready within {within_s:.0f} s") from None
        return self._events[name]

    async def ended(self) -> int:
        """Wait until it has ended; returns its exit status, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, within_s: float) -> None:
        """Ask it to end by closing its standard input; after a while by signals."""
        process = self._process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            for end, patience_s in ((None, within_s), (process.terminate, KILL_AFTER_S), (process.kill, KILL_AFTER_S)):
                if end is not None:
                    end()
                if await _ended_within(process, patience_s):
                    break
        if self._reader is not None:
            await asyncio.wait((self._reader,), timeout=KILL_AFTER_S)
            self._reader.cancel()
        if self._log is not None:
            self._log.close()
            self._log = None

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        try:
            while True:
                try:
                    line = await self._process.stderr.readline()
                except ValueError:  # longer than any line of ours: dropped
                    continue
                if not line:
                    return
                self._note(line)
        finally:
            self._heard.set()

    def _note(self, line: bytes) -> None:
        if self._log is not None:
            if self._log.tell() > MAX_LOG_BYTES:
                self._log.seek(0)
                self._log.truncate()
            self._log.write(line)
        if line.startswith(b"error: "):
            self._complaint = line[len(b"error: ") :].decode("utf-8", "replace").strip()
            return
        try:
            fields = json.loads(line)
        except ValueError:
            return
        if isinstance(fields, dict) and isinstance(fields.get("event"), str):
            self._events.setdefault(fields["event"], fields)
            self._heard.set()


async def _ended_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return False
    return True


async def output_of(arguments: Sequence[str], within_s: float) -> str:
    """Run a module of Python to its end; returns what it printed.

    Raises:
        ChildFailed: It failed, or did not end in time. What it printed is not quoted, but for a line that begins with `error:`.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(within_s):
            output, errors = await process.communicate()
    except TimeoutError:
        raise ChildFailed(f"{arguments[0]} did not end within {within_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        complaints = [line for line in errors.decode("utf-8", "replace").splitlines() if line.startswith("error: ")]
        raise ChildFailed(complaints[-1].removeprefix("error: ") if complaints else f"{arguments[0]} failed")
    return output.decode("utf-8", "replace").strip()
