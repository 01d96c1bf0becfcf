"""Speak for one connected runner: what it is given, what it reports, and whether it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import session_pb2
from transom.runners.v1.runner_service_pb2 import RunnerItem, ServerItem, SessionResponse
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_wire.errors import InvalidRequest
from transom_wire.limits import INLINE_BYTES, MIB
from transom_wire.outbox import Outbox, OutboxFull
from transom_wire.status import from_status

from transom_server.dispatch import Dispatch
from transom_server.offers import Action
from transom_server.run import Attempt, Done, Evidence, Piece, Run, SideEffects, State
from transom_server.scheduler import Offer

log = logging.getLogger(__name__)

PROTOCOL = 1
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DEADLINE_EXCEEDED})


class RunnerSession:
    """One runner's control stream. Nothing here waits, except the writer for items and the watch for silence."""

    def __init__(self, runner: str, hello: session_pb2.Hello, dispatch: Dispatch, *, beat_s: float, dead_s: float, kill_s: float) -> None:
        if hello.protocol != PROTOCOL:
            raise InvalidRequest("this server speaks version 1 of the session protocol; install a runner that does")
        self.id = secrets.token_hex(8)
        self.runner = runner
        self.hostname = hello.hostname[:253]
        self.pool = hello.pool[:63]
        self.software = hello.software[:63]
        self.labels = dict(hello.labels)
        self.containment = int(hello.containment)
        self.actions = tuple(_action(one) for one in hello.actions)
        self.offer = Offer(
            actions=frozenset(action.name for action in self.actions), containment=self.containment, zone=self.labels.get("zone", ""),
            pool=self.pool, labels=frozenset(self.labels.items()),
        )  # fmt: skip
        self.draining = False
        self.running = 0
        self.heard_at = time.time()
        self.outbox: Outbox[ServerItem] = Outbox(max_items=65_536, max_bytes=64 * MIB)
        self._unread = asyncio.Event()
        self._dispatch = dispatch
        self._heard = self._spoke = time.monotonic()
        self._beat_s, self._dead_s = beat_s, dead_s
        self._kill_after = Duration(nanos=int(kill_s * 1e9))
        self._sequence = 0
        self._processed = 1  # Hello
        self.greeting: list[RunnerItem] = []
        self.inline_results: dict[tuple[str, int], int] = {}

    @property
    def action_names(self) -> list[str]:
        """Names of the actions, sorted."""
        return sorted(self.offer.actions)

    # What the runner is told.

    def welcome(self) -> None:
        """Accept the session."""
        beat, dead = Duration(), Duration()
        beat.FromMilliseconds(int(self._beat_s * 1000))
        dead.FromMilliseconds(int(self._dead_s * 1000))
        self._put(ServerItem(welcome=session_pb2.Welcome(session=self.id, heartbeat_every=beat, dead_after=dead)))

    def assign(self, run: Run, attempt: Attempt) -> None:
        """Give the runner an attempt; small documents ride along."""
        request = run.request
        item = ServerItem()
        assign = item.assign
        assign.fence.run, assign.fence.attempt, assign.fence.token = run.id, attempt.number, attempt.token
        assign.action, assign.tenant = request.action, run.tenant
        if request.parameters:
            assign.parameters.update(dict(request.parameters))
        for document in request.documents:
            assign.documents.add(media_type=document.media_type, size_bytes=document.size_bytes, sha256=document.sha256)
        size = 0
        if run.payload.complete and request.size_bytes <= INLINE_BYTES:
            assign.inline_documents.extend(run.payload.whole())
            size = request.size_bytes
        left = max(0.0, run.time_left_s())
        assign.time_left.seconds, assign.time_left.nanos = int(left), int(left % 1 * 1e9)
        assign.accept_within.seconds = 2
        self._put(item, size)

    def cancel(self, run: Run, attempt: Attempt) -> None:
        """Ask the runner to end an attempt, ahead of everything that is queued but its own assignment."""
        self.inline_results.pop((run.id, attempt.number), None)
        item = ServerItem(cancel=session_pb2.CancelAttempt(fence=_fence(run, attempt), kill_after=self._kill_after))
        self._put(item, urgent=attempt.accepted)

    def revoke(self, run: Run, attempt: Attempt) -> None:
        """Take back an attempt that was not answered."""
        self._put(ServerItem(revoke=session_pb2.Revoke(fence=_fence(run, attempt))))

    def release(self, run: Run, attempt: Attempt) -> None:
        """Let the runner forget an attempt."""
        self.inline_results.pop((run.id, attempt.number), None)
        self._put(ServerItem(release=session_pb2.ReleaseAttempt(fence=_fence(run, attempt))))

    def goodbye(self, spread_s: float) -> None:
        """Tell the runner that this server goes away."""
        spread = Duration()
        spread.FromMilliseconds(int(spread_s * 1000))
        self._put(ServerItem(goodbye=session_pb2.Goodbye(spread=spread)))

    def _put(self, item: ServerItem, size_bytes: int = 0, *, urgent: bool = False) -> None:
        # Never fails, since callers and other runners lead here: a runner that reads nothing harms only itself.
        try:
            self.outbox.put(item, size_bytes, urgent=urgent)
        except OutboxFull:
            self._unread.set()

    def envelope(self, items: list[ServerItem]) -> SessionResponse:
        """Number items and acknowledge what was processed."""
        first = self._sequence + 1
        self._sequence += len(items)
        self._spoke = time.monotonic()
        return SessionResponse(sequence=first, ack=self._processed, items=items)

    # What the runner says.

    def handle(self, items: Iterable[RunnerItem]) -> None:
        """Act on what the runner sent."""
        self._heard = time.monotonic()
        self.heard_at = time.time()
        for item in items:
            self._processed += 1
            kind = item.WhichOneof("item")
            if kind == "reply":
                self._dispatch.replied(*_key(item.reply.fence), item.reply.accepted)
            elif kind == "result":
                self._result(item.result)
            elif kind == "done":
                self._dispatch.done(self, *_key(item.done.fence), _done(item.done))
            elif kind == "credit":
                self._dispatch.credit(self, item.credit.total_attempts, item.credit.total_bytes)
            elif kind == "progress":
                progress = item.progress
                effects = _effects(progress.side_effects)
                self._dispatch.progressed(*_key(progress.fence), side_effects=effects, done=progress.done, total=progress.total)
            elif kind == "heartbeat":
                self.running = item.heartbeat.running
            elif kind == "drain":
                self.draining = True
                self._dispatch.drain_session(self)
                self._put(ServerItem(barrier=session_pb2.DrainBarrier()))

    def _result(self, result: session_pb2.AttemptResult) -> None:
        run_id, number, token = _key(result.fence)
        seen = self.inline_results.get((run_id, number), 0)
        for chunk in result.chunks:
            seen += len(chunk.data)
            if seen > INLINE_BYTES:
                raise InvalidRequest("more than 64 KiB of an attempt's result on the control stream")
            self._dispatch.result(run_id, number, token, piece_of(chunk, number))
        if self._dispatch.current(run_id, number, token) is not None:
            self.inline_results[(run_id, number)] = seen

    async def watch(self) -> None:
        """Say something when nothing else was said, and return once the runner has been silent for too long.

        Raises:
            InvalidRequest: The runner does not read what it is sent.
        """
        while True:
            now = time.monotonic()
            if now - self._heard >= self._dead_s:
                return
            if now - self._spoke >= self._beat_s * 0.9:
                self._put(ServerItem(heartbeat=session_pb2.Heartbeat()), urgent=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self._beat_s, self._dead_s) / 5):
                    await self._unread.wait()
                raise InvalidRequest("items are not read; the session is dropped")


class Sessions:
    """The connected runners, one session each: a newer session of the same runner supersedes the older."""

    def __init__(self) -> None:
        self.by_runner: dict[str, RunnerSession] = {}

    def add(self, session: RunnerSession) -> RunnerSession | None:
        """Add a session; returns the one that it supersedes."""
        older = self.by_runner.get(session.runner)
        self.by_runner[session.runner] = session
        return older

    def remove(self, session: RunnerSession) -> None:
        """Forget a session, unless it was superseded."""
        if self.by_runner.get(session.runner) is session:
            del self.by_runner[session.runner]


def _fence(run: Run, attempt: Attempt) -> session_pb2.Fence:
    return session_pb2.Fence(run=run.id, attempt=attempt.number, token=attempt.token)


def _key(fence: session_pb2.Fence) -> tuple[str, int, int]:
    return fence.run, fence.attempt, fence.token


def piece_of(chunk: transfer_pb2.ResultChunk, attempt: int) -> Piece:
    """Read a chunk of a result."""
    return Piece(
        part=chunk.part, offset=chunk.offset, data=chunk.data, last=chunk.last, document=chunk.document, page=chunk.page,
        media_type=chunk.media_type, attempt=attempt,
    )  # fmt: skip


def _done(done: session_pb2.AttemptDone) -> Done:
    claimed = State(int(done.state)) if done.state else State.FAILED
    state = claimed if claimed in ENDED else State.FAILED
    error = from_status(done.status) if done.status.code or state is not State.SUCCEEDED else None
    return Done(
        state=state, error=error, side_effects=_effects(done.side_effects), evidence=_evidence(done.evidence), parts=done.parts,
        pages=done.pages, pages_failed=done.pages_failed, running_s=done.running.seconds + done.running.nanos / 1e9,
    )  # fmt: skip


def _effects(number: int) -> SideEffects:
    """Read what a runner says of effects: whatever is not clearly none is possible."""
    return SideEffects.NONE if number == SideEffects.NONE else SideEffects.POSSIBLE


def _evidence(evidence: run_pb2.Evidence) -> Evidence:
    return Evidence(
        containment=int(evidence.containment), processes=evidence.processes, disk_write_blocks=evidence.disk_write_blocks,
        discarded_output_bytes=evidence.discarded_output_bytes, peak_rss_bytes=evidence.peak_rss_bytes,
        cpu_time_s=evidence.cpu_time.seconds + evidence.cpu_time.nanos / 1e9,
    )  # fmt: skip


def _action(action: action_pb2.Action) -> Action:
    return Action(
        name=action.name, plugin=action.plugin, version=action.version, summary=action.summary, kind=int(action.kind),
        media_types=tuple(action.media_types), parameters_schema=action.parameters_schema, idempotent=action.idempotent,
        hosts=tuple(action.hosts), persistence=int(action.persistence), max_bytes=action.max_bytes, max_pages=action.max_pages,
    )  # fmt: skip
