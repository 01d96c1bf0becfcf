"""Run a flow in a process of its own, and give it the workers it asks for: the daemon's end of `executor_main`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from transom_runner import frames
from transom_runner.frames import Channel, FrameBroken, Given, Gone, Want
from transom_runner.template import Process, TemplateGone
from transom_runner.worker import Crew

MAX_WORKERS: Final = 100_000
"""Of one attempt, one after the other."""


class Executor:
    """One flow's process. Use it as an asynchronous context manager."""

    def __init__(self, crew: Crew, flow: str, needs: Collection[str]) -> None:
        self._crew = crew
        self._flow = flow
        self._needs = frozenset(needs)
        self._control: socket.socket | None = None
        self._given = 0

    async def __aenter__(self) -> Self:
        data, theirs = frames.pair()
        self._control, their_control = frames.control_pair()
        self._control.setblocking(False)
        try:
            self.process: Process = self._crew.fork(self._flow, theirs, their_control)
            self.channel = await Channel.over(data)
        except TemplateGone:
            data.close()
            self._control.close()
            raise
        asyncio.get_running_loop().add_reader(self._control, self._on_packet)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hang_up()
        self.channel.close()

    def _hang_up(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None

    def _on_packet(self) -> None:
        assert self._control is not None
        try:
            packet, _ = frames.receive_packet(self._control)
        except BlockingIOError:
            return
        except FrameBroken:
            self._hang_up()
            return
        if isinstance(packet, Want):
            self._give(packet)

    def _give(self, want: Want) -> None:
        """Fork a worker, and pass its socket on: the daemon keeps no end of it."""
        self._given += 1
        if want.action not in self._needs or self._given > MAX_WORKERS:
            self._tell(Gone(id=want.id, reason="PLUGIN_FAILED"))
            return
        ours, theirs = frames.pair()
        with ours:
            try:
                process = self._crew.fork(want.action, theirs)
            except TemplateGone:
                self._tell(Gone(id=want.id, reason="CRASHED"))
                return
            process.on_end = lambda: self._tell(Gone(id=want.id, reason=process.reason))
            self._tell(Given(id=want.id, shares_pages=self._crew.shares_pages(want.action)), ours.fileno())

    def _tell(self, packet: Given | Gone, *descriptors: int) -> None:
        if self._control is None:
            return
        try:
            frames.send_packet(self._control, packet, descriptors)
        except FrameBroken:
            self._hang_up()
