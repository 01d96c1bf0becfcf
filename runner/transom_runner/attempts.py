"""Hold the attempts of one server, whatever becomes of the session: they outlive a break, and tell the next session how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_wire.encoding import Bytes
from transom_wire.errors import RunnerRefused
from transom_wire.limits import ASSIGN_INLINE_BYTES, ASSIGN_INLINE_QUEUED_BYTES, INLINE_BYTES
from transom_wire.status import for_reason, to_status

from transom_runner.attempt import LOST, Assignment, Attempt, Bounds, Ending
from transom_runner.catalog import Offer
from transom_runner.frames import Head
from transom_runner.transfer import Bulk, ResultSender, fetched
from transom_runner.worker import Crew

log = logging.getLogger(__name__)

OURS: Final = frozenset({"reply", "progress", "result", "done"})
"""Kinds of items that speak of an attempt, and are said again after a break if they were not processed."""

Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a session offers, and what it works with."""

    boot_id: bytes
    pool: str
    labels: Mapping[str, str]
    containment: int
    offers: Callable[[], Mapping[str, Offer]]
    crew: Callable[[], Crew]
    attempts: int
    memory_bytes: int
    max_result_bytes: int
    max_pages: int
    max_pixels: int


@dataclass(slots=True, kw_only=True)
class Live:
    """One attempt that has not ended, and what it takes of the runner's credit."""

    attempt: Attempt
    size_bytes: int
    bulk: Bulk


class Speaker(Protocol):
    """A session, as far as attempts need it."""

    @property
    def queued_bytes(self) -> int:
        """Payload bytes that wait to be written."""

    @property
    def over(self) -> bool:
        """Whether nothing is written any more: what is said waits for the next session."""

    def put(self, item: wire.RunnerItem, size_bytes: int = 0, *, urgent: bool = False, rides: bool = False) -> None:
        """Say something; never fails."""

    def freed(self, size_bytes: int) -> None:
        """Give the server room for another attempt."""

    def unsaid(self) -> Iterable[wire.RunnerItem]:
        """Yield what the server has not acknowledged, in order."""

    def acknowledged(self, count: int) -> None:
        """Forget items that the server has processed."""

    def close(self) -> None:
        """Write what is queued, and half-close."""


class Attempts:
    """The attempts that one server gave us. The newest session that was welcomed speaks for all of them."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._live: dict[Key, Live] = {}
        self._speaker: Speaker | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._grace_s = 0.0
        self._grace: asyncio.TimerHandle | None = None
        self._cleared: dict[Key, asyncio.Event] = {}
        self.resume_token = b""
        self.ended = 0
        """How many have ended so far."""
        self.idle = asyncio.Event()
        self.idle.set()

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Let attempts run as tasks of this group."""
        self._tasks = tasks

    @property
    def count(self) -> int:
        """How many have not ended."""
        return len(self._live)

    @property
    def size_bytes(self) -> int:
        """Documents of those."""
        return sum(live.size_bytes for live in self._live.values())

    # From session to session.

    def in_flight(self) -> list[session_pb2.InFlight]:
        """List what the next session goes on with: attempts that have not ended, and those whose end is not acknowledged."""
        ended = [item.done.fence for item in self._unsaid() if item.HasField("done")]
        live = [session_pb2.Fence(run=run, attempt=attempt, token=token) for run, attempt, token in self._live]
        return [
            *(session_pb2.InFlight(fence=fence) for fence in live),
            *(session_pb2.InFlight(fence=fence, result_ready=True) for fence in ended),
        ]

    def joined(self, speaker: Speaker, welcome: session_pb2.Welcome) -> None:
        """Let a session speak that was welcomed: kill what the server wants no more, and say what it has not processed."""
        keep = {_key(fence) for fence in welcome.keep}
        former, self._speaker = self._speaker, speaker
        if former is not None and welcome.resumed:
            former.acknowledged(welcome.resumed_ack)
        unsaid = list(former.unsaid()) if former is not None else []
        self._stop_grace()
        self.resume_token = welcome.resume_token
        self._grace_s = welcome.resume_grace.ToMicroseconds() / 1e6
        if former is not None:
            former.close()
        abandoned = [live for key, live in self._live.items() if key not in keep]
        if abandoned:
            log.warning("attempt.abandoned", extra={"count": len(abandoned)})
        _kill(abandoned)
        for item in unsaid:
            kind = item.WhichOneof("item")
            if kind in OURS and _key(getattr(item, kind).fence) in keep:
                speaker.put(item, item.ByteSize() if kind == "result" else 0)

    def broke(self, speaker: Speaker) -> None:
        """Note that a session is over: without another within the grace, the attempts are killed."""
        if speaker is self._speaker and self._grace is None:
            self._grace = asyncio.get_running_loop().call_later(self._grace_s, self._orphaned)

    def drop(self) -> None:
        """End everything: there will be no further session."""
        self._stop_grace()
        _kill(self._live.values())

    def _orphaned(self) -> None:
        self._grace, self._speaker, self.resume_token = None, None, b""
        if self._live:
            log.warning("attempt.orphaned", extra={"count": len(self._live)})
        _kill(self._live.values())

    def _stop_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _unsaid(self) -> Iterable[wire.RunnerItem]:
        return self._speaker.unsaid() if self._speaker is not None else ()

    # What is said and heard.

    def _say(self, item: wire.RunnerItem, size_bytes: int = 0, *, rides: bool = False) -> None:
        if self._speaker is not None:
            self._speaker.put(item, size_bytes, rides=rides)

    def acknowledged(self, items: Iterable[wire.RunnerItem]) -> None:
        """Let start what waited until the server knew of its effect."""
        if not self._cleared:
            return
        for item in items:
            if item.HasField("progress") and (cleared := self._cleared.get(_key(item.progress.fence))) is not None:
                cleared.set()

    def end(self, fence: session_pb2.Fence, kill_after_s: float) -> None:
        """End an attempt, if it is still there."""
        live = self._live.get(_key(fence))
        if live is not None:
            live.attempt.cancel("CANCELLED", kill_after_s)

    def assigned(self, assign: session_pb2.Assign, bulk: Bulk) -> None:
        """Take an assignment, or refuse it."""
        key = _key(assign.fence)
        offer = self._workshop.offers().get(assign.action)
        size = sum(document.size_bytes for document in assign.documents)
        if offer is None or key in self._live or self._tasks is None:
            refusal = session_pb2.AttemptReply(fence=assign.fence, accepted=False, status=to_status(RunnerRefused()))
            self._say(wire.RunnerItem(reply=refusal))
            self._freed(size)
            return
        self._say(wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=True)), rides=True)
        cleared: asyncio.Event | None = None
        if offer.side_effects:
            possible = session_pb2.AttemptProgress(fence=assign.fence, side_effects=run_pb2.SIDE_EFFECTS_POSSIBLE)
            cleared = self._cleared[key] = asyncio.Event()
            self._say(wire.RunnerItem(progress=possible))
        attempt = self._attempt(assign, offer, bulk, cleared)
        self._live[key] = Live(attempt=attempt, size_bytes=size, bulk=bulk)
        self.idle.clear()
        bulk.hold()
        self._tasks.create_task(self._run(assign.fence, offer, self._live[key]), name=f"attempt {assign.fence.run}")

    def _attempt(self, assign: session_pb2.Assign, offer: Offer, bulk: Bulk, cleared: asyncio.Event | None) -> Attempt:
        fence, shop = assign.fence, self._workshop
        left = assign.time_left.ToMicroseconds() / 1e6
        inline = list(assign.inline_documents)

        def documents(index: int) -> AsyncIterator[Bytes]:
            return _given(inline[index]) if inline else fetched(bulk, fence, index, left)

        sender = ResultSender(
            bulk=bulk, fence=fence, inline_bytes=self._room(assign), max_bytes=shop.max_result_bytes, timeout_s=left,
            # The end of a small call comes at once behind its result: both leave together.
            inline=lambda chunks, size: self._say(wire.RunnerItem(result=_result(fence, chunks)), size, rides=True),
        )  # fmt: skip
        return Attempt(
            _assignment(assign, offer, shop, left), shop.crew(), sender, documents=documents,
            report=lambda done, total: self._report(fence, offer, done, total), cleared=cleared,
        )  # fmt: skip

    def _room(self, assign: session_pb2.Assign) -> int:
        """Say how much of a result may ride on the session, where heartbeats must not wait for long."""
        crowded = self._speaker is not None and self._speaker.queued_bytes > ASSIGN_INLINE_QUEUED_BYTES
        return min(assign.inline_result_bytes, INLINE_BYTES if crowded else ASSIGN_INLINE_BYTES)

    def _report(self, fence: session_pb2.Fence, offer: Offer, done: int, total: int) -> None:
        if self._speaker is None or self._speaker.over:
            # Nobody misses it, and a break must not gather any number of them.
            return
        progress = session_pb2.AttemptProgress(fence=fence, side_effects=_effects(offer), done=done, total=total)
        self._say(wire.RunnerItem(progress=progress), rides=True)

    async def _run(self, fence: session_pb2.Fence, offer: Offer, live: Live) -> None:
        try:
            ending = await live.attempt.run()
        finally:
            del self._live[_key(fence)]
            self.ended += 1
            if not self._live:
                self.idle.set()
            self._cleared.pop(_key(fence), None)
            await live.bulk.let_go()
        self._say(wire.RunnerItem(done=_done(fence, offer, ending, self._workshop.containment)))
        self._freed(live.size_bytes)

    def _freed(self, size_bytes: int) -> None:
        if self._speaker is not None:
            self._speaker.freed(size_bytes)


def _kill(lives: Iterable[Live]) -> None:
    for live in lives:
        live.attempt.cancel("CANCELLED", 0.0)


async def _given(data: bytes) -> AsyncIterator[Bytes]:
    yield data


def _key(fence: session_pb2.Fence) -> Key:
    return fence.run, fence.attempt, fence.token


def _result(fence: session_pb2.Fence, chunks: Iterable[transfer_pb2.ResultChunk]) -> session_pb2.AttemptResult:
    return session_pb2.AttemptResult(fence=fence, chunks=chunks)


def _assignment(assign: session_pb2.Assign, offer: Offer, shop: Workshop, left: float) -> Assignment:
    documents = tuple(
        Head(index=index, media_type=one.media_type, size_bytes=one.size_bytes, sha256=one.sha256)
        for index, one in enumerate(assign.documents)
    )
    bounds = Bounds(max_bytes=offer.max_bytes, max_pages=min(offer.max_pages, shop.max_pages), max_pixels=shop.max_pixels)
    return Assignment(
        action=assign.action, parameters=_plain(assign.parameters), documents=documents, time_left_s=left, bounds=bounds, needs=offer.needs
    )  # fmt: skip


def _plain(parameters: Message) -> dict[str, Any]:
    """Return parameters with whole numbers as int: a Struct knows only floating point."""
    result: dict[str, Any] = _whole(MessageToDict(parameters))
    return result


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _effects(offer: Offer) -> run_pb2.SideEffects.ValueType:
    return run_pb2.SIDE_EFFECTS_POSSIBLE if offer.side_effects else run_pb2.SIDE_EFFECTS_NONE


def _done(fence: session_pb2.Fence, offer: Offer, ending: Ending, containment: int) -> session_pb2.AttemptDone:
    evidence = run_pb2.Evidence(
        containment=containment, processes=ending.evidence.processes,  # type: ignore[arg-type]
        disk_write_blocks=ending.evidence.disk_write_blocks, discarded_output_bytes=ending.evidence.discarded_output_bytes,
        peak_rss_bytes=ending.evidence.peak_rss_bytes,
    )  # fmt: skip
    evidence.cpu_time.FromMicroseconds(int(ending.evidence.cpu_time_s * 1e6))
    done = session_pb2.AttemptDone(
        fence=fence, state=_state(ending.reason), side_effects=_effects(offer), evidence=evidence,
        parts=ending.parts, pages=ending.pages, pages_failed=ending.pages_failed,
    )  # fmt: skip
    done.running.FromMicroseconds(int(ending.running_s * 1e6))
    if ending.reason and ending.reason != LOST:
        done.status.CopyFrom(to_status(for_reason(ending.reason)))
    return done


def _state(reason: str) -> run_pb2.RunState.ValueType:
    if not reason:
        return run_pb2.RUN_STATE_SUCCEEDED
    if reason == LOST:
        return run_pb2.RUN_STATE_LOST
    return run_pb2.RUN_STATE_CANCELLED if reason == "CANCELLED" else run_pb2.RUN_STATE_FAILED
