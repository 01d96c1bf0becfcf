"""Be a template: enter the sandbox, load one plugin (or the flows), and fork a process for every call.

Started by exec, single-threaded, without an event loop and without gRPC. It sees no document: the sockets of a call go
through it unread. It ends when the daemon does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

from transom_runner import sandbox
from transom_runner.frames import Exited, Fork, Forked, FrameBroken, Ready, Refused, control_pair, receive_packet, send_packet

STANDARD: Final = frozenset({0, 1, 2})
EXECUTOR: Final = "--executor"

Serve = Callable[[list[socket.socket]], None]
"""What a forked process does with the sockets of its call; the process ends afterwards."""


def main(arguments: list[str]) -> int:
    """Serve until the daemon is gone.

    Args:
        arguments: Number of the control socket, the daemon's pid, a plugin's module or --executor, its actions.

    Returns:
        The exit status.
    """
    number, parent, what, *actions = arguments
    control = socket.socket(fileno=int(number))
    sandbox.die_with(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sandbox.name("transom-template")
    try:
        sandbox.enter()
        serve = _load(what, actions)
        left = sandbox.leftovers(STANDARD | {control.fileno()})
    except Exception:  # noqa: BLE001  # its text is a plugin's
        send_packet(control, Refused("LOADING_FAILED"))
        return 1
    if left:
        send_packet(control, Refused(f"IMPORT_LEFT_{left}"))
        return 1
    gc.collect()
    gc.freeze()
    send_packet(control, Ready(containment=sandbox.measure()))
    return _Forks(control, serve).run()


def _load(what: str, actions: list[str]) -> Serve:
    if what == EXECUTOR:
        from transom_runner.executor_main import serve

        return serve
    from transom_plugin import load

    from transom_runner.worker_main import server_of

    plugin = load(what)
    plugin.warm(actions)
    return server_of(plugin)


class _Forks:
    """The processes that were forked and not reaped yet."""

    def __init__(self, control: socket.socket, serve: Serve) -> None:
        self._control = control
        self._serve = serve
        self._ids: dict[int, int] = {}
        self._poll = select.poll()
        self._woken, waker = socket.socketpair()
        for end in (self._woken, waker):
            end.setblocking(False)
        self._waker = waker
        self._spare: tuple[int, socket.socket] | None = None

    def run(self) -> int:
        """Fork when asked, reap when one ends, and leave when the daemon is gone."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        while True:
            events = self._poll.poll(None if self._spare else 0)
            for number, _ in events:
                if number == self._woken.fileno():
                    self._woken.recv(4096)
                    self._reap()
                    continue
                try:
                    packet, descriptors = receive_packet(self._control)
                    if isinstance(packet, Fork):
                        self._fork(packet, descriptors)
                except FrameBroken:
                    return 0
            if self._spare is None and not events:
                # Nobody waits for us now: the next fork takes place while the last call is served.
                self._spare = self._forked()

    def _fork(self, fork: Fork, descriptors: list[int]) -> None:
        """Give a call to the process that waits for one, and fork the next to wait."""
        pid, spare = self._spare or self._forked()
        self._spare = None
        try:
            send_packet(spare, fork, tuple(descriptors))
        except FrameBroken:
            # It was killed while it waited.
            spare.close()
            pid, spare = self._forked()
            send_packet(spare, fork, tuple(descriptors))
        spare.close()
        for number in descriptors:
            os.close(number)
        pidfd = os.pidfd_open(pid)
        self._ids[pid] = fork.id
        send_packet(self._control, Forked(id=fork.id, pid=pid), (pidfd,))
        os.close(pidfd)

    def _forked(self) -> tuple[int, socket.socket]:
        """Fork a process that waits for its one call: forking is most of what a small call costs."""
        template = os.getpid()
        ours, theirs = control_pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become(template, theirs)
        theirs.close()
        return pid, ours

    def _become(self, template: int, call: socket.socket) -> None:
        """Be the new process; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sandbox.die_with(template)
            os.setpgid(0, 0)
            for end in (self._control, self._woken, self._waker):
                end.close()
            fork, descriptors = receive_packet(call)
            call.close()
            if isinstance(fork, Fork):
                sandbox.tighten(fork.memory_bytes, fork.cpu_seconds)
                self._serve([socket.socket(fileno=number) for number in descriptors])
        finally:
            # No exit handlers, no buffers, no destructors: the memory goes with the process.
            os._exit(0)

    def _reap(self) -> None:
        while self._ids:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            self._kill_left_behind(ended.si_pid)
            pid, status, usage = os.wait4(ended.si_pid, 0)
            number = self._ids.pop(pid, None)
            if number is None:
                continue
            send_packet(
                self._control,
                Exited(
                    id=number, status=status, disk_write_blocks=usage.ru_oublock, peak_rss_bytes=usage.ru_maxrss * 1024,
                    cpu_time_s=usage.ru_utime + usage.ru_stime,
                ),
            )  # fmt: skip

    def _kill_left_behind(self, pid: int) -> None:
        """Kill what a process started and left; its number is not free before it is reaped."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
