"""Carry one attempt from assignment to its end: bytes in, a process that works, results out, evidence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from transom.documents.v1 import document_pb2
from transom_wire import media
from transom_wire.status import for_reason, to_status

from transom_runner import frames
from transom_runner.executor import Executor
from transom_runner.frames import Begin, Bytes, Channel, Chunk, End, Finished, Frame, FrameBroken, Head, PageRead, PartMade, Pixels, Report
from transom_runner.template import Process, TemplateGone
from transom_runner.transfer import OutputTooLarge, Part, ResultSender, TransferBroken
from transom_runner.worker import Crew, Evidence, ending

log = logging.getLogger(__name__)

EXPLAINED_WITHIN_S: Final = 5.0
LOST: Final = "LOST"
"""Why an attempt ends whose bytes no longer travel: it is lost, and the server says whether there is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a document of this attempt may cost."""

    max_bytes: int
    max_pages: int
    max_pixels: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Assignment:
    """What the server asks for."""

    action: str
    parameters: Mapping[str, Any]
    documents: tuple[Head, ...]
    time_left_s: float
    bounds: Bounds
    needs: tuple[str, ...]
    """Actions that a flow may call; empty for a single action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the attempt ended."""

    reason: str
    """Empty when it succeeded."""
    evidence: Evidence
    parts: int
    pages: int
    pages_failed: int
    running_s: float


class Attempt:
    """One attempt. `run` it once; `cancel` it at any time."""

    def __init__(
        self, assignment: Assignment, crew: Crew, sender: ResultSender, *,
        documents: Callable[[int], AsyncIterator[Bytes]], report: Callable[[int, int], None], cleared: asyncio.Event | None = None,
    ) -> None:  # fmt: skip
        self._assignment = assignment
        self._crew = crew
        self._sender = sender
        self._documents = documents
        self._report = report
        self._cleared = cleared
        self._started = time.monotonic()
        self._pages = 0
        self._failed: list[str] = []
        self._cancelled = ""
        self._killing: asyncio.TimerHandle | None = None

    @property
    def is_flow(self) -> bool:
        """Whether an executor walks it."""
        return bool(self._assignment.needs)

    def cancel(self, reason: str, kill_after_s: float) -> None:
        """Ask every process to stop, and kill those that do not."""
        if self._cancelled:
            return
        self._cancelled = reason
        self._crew.kill(reason, gently=True)
        self._killing = asyncio.get_running_loop().call_later(kill_after_s, self._crew.kill, reason)

    async def run(self) -> Ending:
        """Do the work. No process of the attempt is alive afterwards, and every byte of its result is with the server."""
        with ending(self._crew):
            try:
                async with asyncio.timeout(self._assignment.time_left_s):
                    reason = await self._work()
            except TimeoutError:
                reason = "TIMED_OUT"
            except Exception:
                # One document's trouble never ends the session. The formatter prints the error's type and place alone.
                log.exception("attempt.failed")
                reason = "INTERNAL"
            finally:
                self._sender.abandon()
                if self._killing is not None:
                    self._killing.cancel()
            if reason:
                self._crew.kill(reason)
            await self._crew.reaped()
        return self._ending(self._cancelled or reason)

    async def _work(self) -> str:
        """Return why it failed; empty when it did not."""
        feeding: asyncio.Task[None] | None = None
        try:
            async with AsyncExitStack() as stack:
                process, channel = await self._open(stack)
                feeding = asyncio.create_task(self._feed(channel), name="attempt feed")
                reason = await self._results(process, channel)
                await self._sender.close()
        except TemplateGone:
            return "CRASHED"
        except OutputTooLarge:
            return "OUTPUT_TOO_LARGE"
        except TransferBroken:
            return LOST
        finally:
            if feeding is not None:
                feeding.cancel()
                with contextlib.suppress(asyncio.CancelledError, FrameBroken):
                    await feeding
        return reason

    async def _open(self, stack: AsyncExitStack) -> tuple[Process, Channel]:
        assignment = self._assignment
        if self.is_flow:
            executor = await stack.enter_async_context(Executor(self._crew, assignment.action, assignment.needs))
            return executor.process, executor.channel
        ours, theirs = frames.pair()
        try:
            process = self._crew.fork(assignment.action, theirs)
        except TemplateGone:
            ours.close()
            raise
        channel = await Channel.over(ours)
        stack.callback(channel.close)
        return process, channel

    # In.

    async def _feed(self, channel: Channel) -> None:
        assignment, bounds = self._assignment, self._assignment.bounds
        if self._cleared is not None:
            # The server must know that an effect is possible before it is.
            await self._cleared.wait()
            if self._cancelled:
                return
        await channel.send(
            Begin(
                action=assignment.action, parameters=dict(assignment.parameters), time_left_s=assignment.time_left_s,
                documents=list(assignment.documents),
                max_bytes=bounds.max_bytes, max_pages=bounds.max_pages, max_pixels=bounds.max_pixels,
            )
        )  # fmt: skip
        try:
            for head in assignment.documents:
                async for data in self._documents(head.index):
                    await channel.send(Chunk(document=head.index), data)
        except TransferBroken:
            # The process would wait for the rest.
            self._crew.kill(LOST)
            return
        if not self.is_flow:
            await channel.send(End())

    # Out.

    async def _results(self, process: Process, channel: Channel) -> str:
        while True:
            try:
                frame, attachment = await channel.receive()
            except FrameBroken:
                return await self._explained(process)
            if isinstance(frame, Finished):
                return frame.reason
            if isinstance(frame, Report):
                self._report(frame.done, frame.total)
                continue
            await self._sender.send(self._part(frame, attachment))

    async def _explained(self, process: Process) -> str:
        """Say why a process that did not finish is gone."""
        try:
            async with asyncio.timeout(EXPLAINED_WITHIN_S):
                await process.exited.wait()
        except TimeoutError:
            return "CRASHED"
        return process.reason or "CRASHED"

    def _part(self, frame: Frame, attachment: bytes) -> Part:
        if isinstance(frame, PageRead):
            if frame.reason:
                self._failed.append(frame.reason)
                attachment = _failed_page(frame)
            else:
                self._pages += 1
            return Part(document=frame.document, page=frame.page, media_type=media.PAGE, data=attachment)
        if isinstance(frame, Pixels):
            return Part(document=frame.document, page=frame.page, media_type=media.PIXELS, data=_portable(frame, attachment))
        if isinstance(frame, PartMade):
            return Part(document=frame.document, page=0, media_type=frame.media_type[:127], data=attachment)
        raise OutputTooLarge

    def _ending(self, reason: str) -> Ending:
        if not reason and self._failed and not self._pages:
            reason = self._failed[0]
        return Ending(
            reason=reason, evidence=self._crew.evidence(), parts=self._sender.parts, pages=self._pages, pages_failed=len(self._failed),
            running_s=time.monotonic() - self._started,
        )  # fmt: skip


def _failed_page(frame: PageRead) -> bytes:
    error = to_status(for_reason(frame.reason))
    return document_pb2.Page(number=frame.page, engine=frame.engine, error=error).SerializeToString()


def _portable(frame: Pixels, pixels: Bytes) -> bytes:
    """Return pixels as a portable grey or colour map (netpbm's P5 and P6)."""
    kind = b"P5" if frame.channels == 1 else b"P6"
    return b"%s\n%d %d\n255\n%s" % (kind, frame.width, frame.height, pixels)
