"""Keep a template running, and have it fork: the daemon's end of `template_main`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from transom_runner import frames
from transom_runner.frames import Exited, Fork, Forked, FrameBroken, Ready, Refused

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
DISCARD_BYTES: Final = 65_536
REASON_BY_SIGNAL: Final = {signal.SIGKILL: "KILLED", signal.SIGXCPU: "TIMED_OUT", signal.SIGTERM: "CANCELLED"}


class TemplateRefused(Exception):
    """The template does not serve; the message is its code."""


class TemplateGone(Exception):
    """The template died, or does not read what it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process used, as its reaping parent's wait4 tells."""

    disk_write_blocks: int = 0
    peak_rss_bytes: int = 0
    cpu_time_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one process may use."""

    memory_bytes: int
    cpu_seconds: int


class Process:
    """One forked process, from fork to reaping."""

    def __init__(self) -> None:
        self.pid = 0
        self.usage: Usage | None = None
        """None when its template died first: then nobody measured it."""
        self.reason = ""
        """How it ended badly; empty when it ended by itself."""
        self.exited = asyncio.Event()
        self.on_end: Callable[[], None] | None = None
        self.withdraw: Callable[[], None] | None = None
        """Takes it back while it still waits for its template."""
        self._pidfd = -1
        self._signal = 0
        self._blamed = ""

    def kill(self, number: int = signal.SIGKILL, *, reason: str = "") -> None:
        """Send a signal, as soon as the process exists; `reason` says what its end shall be called."""
        self._blamed = self._blamed or reason
        self._signal = number
        if self.withdraw is not None:
            self.withdraw()
        elif self._pidfd >= 0:
            # It may have ended already, and not be reaped yet.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def started(self, pid: int, pidfd: int) -> None:
        """Note that the process exists."""
        self.pid, self._pidfd = pid, pidfd
        if self._signal:
            self.kill(self._signal)

    def ended(self, status: int | None, usage: Usage | None) -> None:
        """Note that the process was reaped, or will never be."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.usage = usage
        self.reason = self._blamed or _reason(status)
        self.exited.set()
        if self.on_end is not None:
            self.on_end()


def _reason(status: int | None) -> str:
    if status is None:
        return "KILLED"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return ""
    return REASON_BY_SIGNAL.get(signal.Signals(-code), "CRASHED") if code < 0 else "CRASHED"


class Template:
    """One template process, started again when it dies.

    `start` must be called in the main thread: the template dies with the thread that started it.
    """

    def __init__(self, what: str, actions: Sequence[str] = (), *, path: Sequence[str] = ()) -> None:
        self.what = what
        self.actions = tuple(actions)
        self.containment = 0
        self.printed_bytes = 0
        """What the template and its processes wrote to stdout and stderr: counted and dropped."""
        self.pid = 0
        self._path = tuple(path)
        self._next = 0
        self._processes: dict[int, Process] = {}
        self._waiting: dict[int, tuple[Fork, Sequence[socket.socket]]] = {}
        """Calls that came while the template was being started anew."""
        self._kept = False
        self._control: socket.socket | None = None
        self._output = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()

    # Life.

    def start(self) -> None:
        """Start the process; `ready` waits for it."""
        ours, theirs = frames.control_pair()
        self._output, output = os.pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "transom_runner.template_main", str(theirs.fileno()), str(os.getpid()), self.what, *self.actions],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(theirs.fileno(),), env=_environment(self._path), cwd="/",
            )  # fmt: skip
        os.close(output)
        os.set_blocking(self._output, False)
        ours.setblocking(False)
        self.pid = self._process.pid
        self._control = ours
        self._lost.clear()
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(ours, self._on_packet)
        loop.add_reader(self._output, self._on_output)

    async def ready(self, within_s: float) -> None:
        """Wait until the template is warm.

        Raises:
            TemplateRefused: It does not serve, and never will.
            TemplateGone: It died, or is not ready in time.
        """
        assert self._ready is not None
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise TemplateGone from None

    async def keep(self, within_s: float) -> None:
        """Start the template anew whenever it dies, ever more slowly."""
        pause = FIRST_PAUSE_S
        self._kept = True
        while True:
            await self._lost.wait()
            log.warning("template.lost", extra={"plugin": self.what, "pid": self.pid})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            self.start()
            try:
                await self.ready(within_s)
            except (TemplateGone, TemplateRefused):
                self.stop()
            else:
                pause = FIRST_PAUSE_S

    def stop(self) -> None:
        """Kill the template; its processes die with it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._lose()

    def _lose(self) -> None:
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control)
        loop.remove_reader(self._output)
        self._control.close()
        os.close(self._output)
        self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for number in list(self._waiting):
            self._withdraw(number)
        for process in self._processes.values():
            process.ended(None, None)
        self._processes.clear()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(TemplateGone())
            self._ready.exception()
        self._lost.set()

    # Forking.

    def fork(self, bounds: Bounds, sockets: Sequence[socket.socket]) -> Process:
        """Have a process forked that owns these sockets; ours are closed. It waits where the template is being started anew.

        Raises:
            TemplateGone: There is no template to fork from, and none will come.
        """
        process = Process()
        self._next += 1
        number = self._next
        request = Fork(id=number, memory_bytes=bounds.memory_bytes, cpu_seconds=bounds.cpu_seconds)
        if self._is_ready():
            self._send(request, sockets)
        elif self._kept:
            self._waiting[number] = request, sockets
            process.withdraw = partial(self._withdraw, number)
        else:
            for one in sockets:
                one.close()
            raise TemplateGone
        self._processes[number] = process
        return process

    def _is_ready(self) -> bool:
        return self._control is not None and self._ready is not None and self._ready.done()

    def _send(self, request: Fork, sockets: Sequence[socket.socket]) -> None:
        assert self._control is not None
        try:
            frames.send_packet(self._control, request, tuple(one.fileno() for one in sockets))
        except FrameBroken:
            raise TemplateGone from None
        finally:
            for one in sockets:
                one.close()

    def _withdraw(self, number: int) -> None:
        """Let a call that waits for the template end without a process."""
        _, sockets = self._waiting.pop(number)
        for one in sockets:
            one.close()
        process = self._processes.pop(number)
        process.withdraw = None
        process.ended(None, None)

    def _serve_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for number, (request, sockets) in waiting.items():
            self._processes[number].withdraw = None
            # One that it does not take any more ends with it, as soon as its loss is noticed.
            with contextlib.suppress(TemplateGone):
                self._send(request, sockets)

    def _on_packet(self) -> None:
        assert self._control is not None
        try:
            packet, descriptors = frames.receive_packet(self._control)
        except BlockingIOError:
            return
        except FrameBroken:
            self._lose()
            return
        if isinstance(packet, Forked) and packet.id in self._processes and descriptors:
            self._processes[packet.id].started(packet.pid, descriptors[0])
        elif isinstance(packet, Exited) and packet.id in self._processes:
            usage = Usage(disk_write_blocks=packet.disk_write_blocks, peak_rss_bytes=packet.peak_rss_bytes, cpu_time_s=packet.cpu_time_s)
            self._processes.pop(packet.id).ended(packet.status, usage)
        elif self._ready is not None and not self._ready.done():
            self._answered(packet)

    def _answered(self, packet: frames.Packet) -> None:
        assert self._ready is not None
        if isinstance(packet, Ready):
            self.containment = packet.containment
            self._ready.set_result(None)
            self._serve_waiting()
        elif isinstance(packet, Refused):
            self._ready.set_exception(TemplateRefused(packet.reason))

    def _on_output(self) -> None:
        try:
            count = len(os.read(self._output, DISCARD_BYTES))
        except BlockingIOError:
            return
        self.printed_bytes += count
        if count == 0:
            asyncio.get_running_loop().remove_reader(self._output)


def _environment(path: Sequence[str]) -> dict[str, str]:
    """Return what a template's process may know of ours: nothing that could be a secret."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TESSDATA_PREFIX", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    fixed = {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "OMP_THREAD_LIMIT": "1"}
    given = {"PYTHONPATH": os.pathsep.join(path)} if path else {}
    return environment | fixed | given
