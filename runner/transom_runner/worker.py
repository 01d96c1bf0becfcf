"""Fork workers from warm templates, account for them, and kill them: the daemon's end of `worker_main`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from transom_runner.template import Bounds, Process, Template

log = logging.getLogger(__name__)

LEAVES_WITHIN_S: Final = 2.0
REAPED_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured about an attempt's processes."""

    processes: int
    disk_write_blocks: int
    discarded_output_bytes: int
    peak_rss_bytes: int
    cpu_time_s: float
    unmeasured: int
    """Processes that nobody could reap, since their template died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Where an action's workers come from."""

    template: Template
    bounds: Bounds
    shares_pages: bool = False


class Crew:
    """All processes of one attempt: they end together."""

    def __init__(self, posts: Mapping[str, Post]) -> None:
        self._posts = posts
        self._processes: list[Process] = []
        self._templates: dict[str, tuple[Template, int]] = {}

    def fork(self, action: str, *sockets: socket.socket) -> Process:
        """Have a process forked for an action (or flow); it owns the sockets.

        Raises:
            TemplateGone: There is no template to fork from just now.
        """
        post = self._posts[action]
        template = post.template
        self._templates.setdefault(template.what, (template, template.printed_bytes))
        process = template.fork(post.bounds, sockets)
        self._processes.append(process)
        return process

    def shares_pages(self, action: str) -> bool:
        """Say whether a worker of this action may read several pages of one document."""
        return self._posts[action].shares_pages

    def kill(self, reason: str, *, gently: bool = False) -> None:
        """Kill every process, or ask each to stop; `reason` is what their end shall be called."""
        for process in self._processes:
            if not process.exited.is_set():
                process.kill(signal.SIGTERM if gently else signal.SIGKILL, reason=reason)

    async def reaped(self) -> None:
        """Wait until every process is gone; one that does not leave by itself is killed."""
        if not await self._gone_within(LEAVES_WITHIN_S):
            self.kill("KILLED")
            if not await self._gone_within(REAPED_WITHIN_S):
                log.error("worker.stuck", extra={"count": sum(not process.exited.is_set() for process in self._processes)})

    async def _gone_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                for process in list(self._processes):
                    await process.exited.wait()
        except TimeoutError:
            return False
        return True

    def evidence(self) -> Evidence:
        """Sum up what was measured."""
        usages = [process.usage for process in self._processes if process.usage is not None]
        return Evidence(
            processes=len(self._processes),
            disk_write_blocks=sum(usage.disk_write_blocks for usage in usages),
            discarded_output_bytes=sum(template.printed_bytes - before for template, before in self._templates.values()),
            peak_rss_bytes=max((usage.peak_rss_bytes for usage in usages), default=0),
            cpu_time_s=sum(usage.cpu_time_s for usage in usages),
            unmeasured=len(self._processes) - len(usages),
        )


@contextmanager
def ending(crew: Crew) -> Iterator[None]:
    """Whatever happens, let no process of the attempt survive it."""
    try:
        yield
    finally:
        crew.kill("KILLED")
