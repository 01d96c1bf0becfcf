"""Speak for one connected runner: what it is given, what it reports, and whether it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import session_pb2
from transom.runners.v1.runner_service_pb2 import RunnerItem, ServerItem, SessionResponse
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_wire.encoding import Bytes, boxed, framed, tag, varint
from transom_wire.errors import InvalidRequest, TransomError
from transom_wire.limits import ASSIGN_INLINE_BYTES, ASSIGN_INLINE_QUEUED_BYTES, INLINE_BYTES, MIB
from transom_wire.outbox import Outbox, OutboxFull
from transom_wire.status import from_status

from transom_server.dispatch import Dispatch
from transom_server.offers import Action
from transom_server.run import Attempt, DocumentSpec, Done, Evidence, Piece, Run, SideEffects, State
from transom_server.scheduler import Offer

log = logging.getLogger(__name__)

PROTOCOL = 1
ITEMS = tag(SessionResponse, "items")
SEQUENCE = tag(SessionResponse, "sequence")
ACK = tag(SessionResponse, "ack")
ASSIGN = tag(ServerItem, "assign")
RELEASE = tag(ServerItem, "release")
RELEASED = tag(session_pb2.ReleaseAttempt, "fence")
FENCE = tag(session_pb2.Assign, "fence")
TIME_LEFT = tag(session_pb2.Assign, "time_left")
PARAMETERS = tag(session_pb2.Assign, "parameters")
INLINE_RESULT = tag(session_pb2.Assign, "inline_result_bytes")
INLINE = tag(session_pb2.Assign, "inline_documents")
ACCEPT_WITHIN = Duration(seconds=2)
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DEADLINE_EXCEEDED, State.LOST})
SPREAD_S = 1.0
"""Runners open their next session within this time of a Goodbye."""

Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often both ends speak, and how long silence, absence and age are borne."""

    heartbeat_every_s: float
    dead_after_s: float
    kill_after_s: float
    resume_grace_s: float
    max_session_age_s: float


class RunnerSession:
    """One runner's control stream. Nothing here waits, except the writer for items and the watch for silence."""

    def __init__(self, runner: str, hello: session_pb2.Hello, dispatch: Dispatch, pace: Pace) -> None:
        if hello.protocol != PROTOCOL:
            raise InvalidRequest("this server speaks version 1 of the session protocol; install a runner that does")
        self.id = secrets.token_hex(8)
        self.runner = runner
        self.boot_id = hello.boot_id
        self.resume_token = secrets.token_bytes(16)
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
        self.outbox: Outbox[list[Bytes]] = Outbox(max_items=65_536, max_bytes=64 * MIB)
        self._faulty = asyncio.Event()
        self._fault: TransomError = InvalidRequest("items are not read; the session is dropped")
        self._dispatch = dispatch
        self._heard = self._spoke = self._opened = time.monotonic()
        self._leaves_at = 0.0
        self._pace = pace
        self._beat_s, self._dead_s = pace.heartbeat_every_s, pace.dead_after_s
        self._kill_after = _duration(pace.kill_after_s)
        self._sequence = 0
        self._processed = 1  # Hello
        self._before: tuple[bytes, int] | None = None
        self.greeting: list[RunnerItem] = []

    @property
    def action_names(self) -> list[str]:
        """Names of the actions, sorted."""
        return sorted(self.offer.actions)

    # What the runner is told.

    def welcome(self, keep: Collection[Key] = (), abandon: Collection[Key] = (), *, resumes: tuple[bytes, int] | None = None) -> None:
        """Accept the session.

        Args:
            keep: Attempts that it goes on with.
            abandon: Attempts that the runner must end.
            resumes: The token of the session before, and how many of its items were processed.
        """
        self._before = resumes
        pace = self._pace
        welcome = session_pb2.Welcome(
            session=self.id, heartbeat_every=_duration(pace.heartbeat_every_s), dead_after=_duration(pace.dead_after_s),
            resume_token=self.resume_token, resumed=resumes is not None, keep=_fences(keep), abandon=_fences(abandon),
            resumed_ack=resumes[1] if resumes else 0, resume_grace=_duration(pace.resume_grace_s),
            max_session_age=_duration(pace.max_session_age_s),
        )  # fmt: skip
        self._put(ServerItem(welcome=welcome), urgent=True)

    def resumed_by(self, hello: session_pb2.Hello) -> tuple[bytes, int] | None:
        """Return the token with which this Hello goes on, if it may, and how many items of that token's session were processed.

        A runner that never heard our Welcome may come with the token before ours.
        """
        if hello.boot_id != self.boot_id:
            return None
        for known in ((self.resume_token, self._processed), self._before):
            if known is not None and hmac.compare_digest(known[0], hello.resume_token):
                return known
        return None

    def assign(self, run: Run, attempt: Attempt) -> None:
        """Give the runner an attempt; small documents ride along."""
        request = run.request
        left = max(0.0, run.time_left_s())
        described = (_described if request.has_digests else _described_before)(request.action, run.tenant, request.documents)
        time_left = Duration(seconds=int(left), nanos=int(left % 1 * 1e9)).SerializeToString()
        fence = _fence(run, attempt).SerializeToString()
        head = b"".join(
            (described, *framed(FENCE, [fence]), *framed(TIME_LEFT, [time_left]), INLINE_RESULT, varint(run.inline_result_bytes))
        )
        if request.parameters:
            parameters = Struct()
            parameters.update(dict(request.parameters))
            head += boxed(PARAMETERS, parameters.SerializeToString())
        parts: list[Bytes] = [head]
        size = 0
        if self._carries(request.size_bytes) and run.payload.complete:
            for document in run.payload.whole():
                parts += framed(INLINE, [document])
            size = request.size_bytes
        self._queue(framed(ASSIGN, parts), size)

    def _carries(self, size_bytes: int) -> bool:
        """Say whether so many bytes may ride on this stream, where cancels must not wait for long."""
        queued = self.outbox.queued_bytes
        return size_bytes <= INLINE_BYTES or (size_bytes <= ASSIGN_INLINE_BYTES and queued < ASSIGN_INLINE_QUEUED_BYTES)

    def cancel(self, run: Run, attempt: Attempt) -> None:
        """Ask the runner to end an attempt, ahead of everything that is queued but its own assignment."""
        item = ServerItem(cancel=session_pb2.CancelAttempt(fence=_fence(run, attempt), kill_after=self._kill_after))
        self._put(item, urgent=attempt.accepted)

    def revoke(self, run: Run, attempt: Attempt) -> None:
        """Take back an attempt that was not answered."""
        self._put(ServerItem(revoke=session_pb2.Revoke(fence=_fence(run, attempt))))

    def release(self, run: Run, attempt: Attempt) -> None:
        """Let the runner forget an attempt."""
        fence = _fence(run, attempt).SerializeToString()
        self._queue([boxed(RELEASE, boxed(RELEASED, fence))], rides=True)

    def goodbye(self, spread_s: float) -> None:
        """Tell the runner that this session ends, and give it nothing more: the next one takes over what is in flight."""
        self._dispatch.drain_session(self)
        self._put(ServerItem(goodbye=session_pb2.Goodbye(spread=_duration(spread_s))))

    def fail(self, fault: TransomError) -> None:
        """End the session with an error."""
        self._fault = fault
        self._faulty.set()

    def _put(self, item: ServerItem, *, urgent: bool = False) -> None:
        self._queue([item.SerializeToString()], urgent=urgent)

    def _queue(self, parts: list[Bytes], size_bytes: int = 0, *, urgent: bool = False, rides: bool = False) -> None:
        # Never fails, since callers and other runners lead here: a runner that reads nothing harms only itself.
        try:
            self.outbox.put(framed(ITEMS, parts), size_bytes, urgent=urgent, rides=rides)
        except OutboxFull:
            self._faulty.set()

    def envelope(self, items: list[list[Bytes]]) -> bytes:
        """Number items and acknowledge what was processed; the bytes of documents are copied here, once."""
        first = self._sequence + 1
        self._sequence += len(items)
        self._spoke = time.monotonic()
        head = SEQUENCE + varint(first) + ACK + varint(self._processed)
        return b"".join([head, *[part for item in items for part in item]])

    # What the runner says.

    def check(self, sequence: int, ack: int) -> None:
        """Check the numbers of an envelope.

        Raises:
            InvalidRequest: It is not the next one, or acknowledges what was never sent.
        """
        if sequence != self._processed + 1 or ack > self._sequence:
            raise InvalidRequest("an envelope is not the next one, or acknowledges what was never sent")
        if ack:
            # The runner has our Welcome, and so our token.
            self._before = None

    def handle(self, items: Iterable[RunnerItem], data: memoryview | None = None) -> None:
        """Act on what the runner sent; `data` is the bytes of a result if they were taken out of the only item."""
        self._heard = time.monotonic()
        self.heard_at = time.time()
        for item in items:
            self._processed += 1
            kind = item.WhichOneof("item")
            if kind == "reply":
                self._dispatch.replied(self, *_key(item.reply.fence), accepted=item.reply.accepted)
            elif kind == "result":
                self._result(item.result, data)
            elif kind == "done":
                self._dispatch.done(self, *_key(item.done.fence), _done(item.done))
            elif kind == "credit":
                self._dispatch.credit(self, item.credit.total_attempts, item.credit.total_bytes)
            elif kind == "progress":
                self._progressed(item.progress)
            elif kind == "heartbeat":
                self.running = item.heartbeat.running
            elif kind == "drain":
                self.draining = True
                self._dispatch.drain_session(self)
                self._put(ServerItem(barrier=session_pb2.DrainBarrier()))
            elif kind == "hello":
                raise InvalidRequest("a session begins with Hello, once")

    def _progressed(self, progress: session_pb2.AttemptProgress) -> None:
        effects = _effects(progress.side_effects)
        wanted = self._dispatch.progressed(self, *_key(progress.fence), side_effects=effects, done=progress.done, total=progress.total)
        if effects is SideEffects.NONE or progress.total:
            return
        # The runner waits for our ack before the effect; it must not start what is not wanted any more.
        if not wanted:
            self._put(ServerItem(revoke=session_pb2.Revoke(fence=progress.fence)), urgent=True)
        self._put(ServerItem(heartbeat=session_pb2.Heartbeat()), urgent=True)

    def _result(self, result: session_pb2.AttemptResult, data: memoryview | None) -> None:
        run_id, number, token = _key(result.fence)
        run = self._dispatch.given(self, run_id, number, token)
        if run is None:
            return
        for chunk in result.chunks:
            piece = piece_of(chunk, number, data)
            run.inline_result_taken += len(piece.data)
            if run.inline_result_taken > run.inline_result_bytes:
                raise InvalidRequest("more of an attempt's result on the session than its assignment allows")
            run.sink.result(run, piece)
            if run.ended:
                return
            run.inline_parts += piece.last
            if run.on_inline_part is not None:
                run.on_inline_part()

    async def watch(self) -> None:
        """Say something when nothing else was said, and return once the runner has been silent for too long.

        Raises:
            TransomError: The runner does not read what it is sent, or the session is to end for another reason.
        """
        while True:
            now = time.monotonic()
            if now - self._heard >= self._dead_s:
                return
            if now - self._spoke >= self._beat_s * 0.9:
                self._put(ServerItem(heartbeat=session_pb2.Heartbeat()), urgent=True)
            self._age(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self._beat_s, self._dead_s) / 5):
                    await self._faulty.wait()
                raise self._fault

    def _age(self, now: float) -> None:
        """Ask the runner for a new session once this one is old, and end it if none comes."""
        limit_s = self._pace.max_session_age_s
        if not limit_s or now < self._opened + limit_s:
            return
        if not self._leaves_at:
            self._leaves_at = now + SPREAD_S + self._pace.resume_grace_s
            self.goodbye(SPREAD_S)
        elif now >= self._leaves_at:
            self.outbox.close()


class Sessions:
    """The connected runners, one session each: a newer session of the same runner supersedes the older."""

    def __init__(self) -> None:
        self.by_runner: dict[str, RunnerSession] = {}
        self.cordoned: set[str] = set()
        """Runners that operators have cordoned: it holds for whatever session they open, as long as this server runs."""

    def add(self, session: RunnerSession) -> None:
        """Add a session, in the place of an older one."""
        self.by_runner[session.runner] = session

    def remove(self, session: RunnerSession) -> None:
        """Forget a session, unless it was superseded."""
        if self.by_runner.get(session.runner) is session:
            del self.by_runner[session.runner]


def _described(action: str, tenant: str, documents: tuple[DocumentSpec, ...]) -> bytes:
    """Encode what an assignment says of a run's kind."""
    return session_pb2.Assign(
        action=action, tenant=tenant, accept_within=ACCEPT_WITHIN,
        documents=[run_pb2.DocumentSpec(media_type=one.media_type, size_bytes=one.size_bytes, sha256=one.sha256) for one in documents],
    ).SerializeToString()  # fmt: skip


# Digests speak of content: nothing remembers them.
_described_before = lru_cache(maxsize=1024)(_described)


def _fence(run: Run, attempt: Attempt) -> session_pb2.Fence:
    return session_pb2.Fence(run=run.id, attempt=attempt.number, token=attempt.token)


def _key(fence: session_pb2.Fence) -> Key:
    return fence.run, fence.attempt, fence.token


def _fences(keys: Iterable[Key]) -> list[session_pb2.Fence]:
    return [session_pb2.Fence(run=run, attempt=attempt, token=token) for run, attempt, token in keys]


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(int(seconds * 1e6))
    return duration


def piece_of(chunk: transfer_pb2.ResultChunk, attempt: int, data: memoryview | None = None) -> Piece:
    """Read a chunk of a result; `data` is its bytes if they were taken out of it."""
    return Piece(
        part=chunk.part, offset=chunk.offset, data=chunk.data if data is None else data, last=chunk.last, document=chunk.document,
        page=chunk.page, media_type=chunk.media_type, attempt=attempt,
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
