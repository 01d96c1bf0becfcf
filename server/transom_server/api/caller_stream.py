"""One caller's `Process` stream: its runs by tag, the events that go back, and the credit for results."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_wire.encoding import Bytes
from transom_wire.errors import Cancelled, InvalidRequest, TooManyRuns, TransomError
from transom_wire.limits import INLINE_BYTES, MIB, RESULT_WINDOW_BYTES
from transom_wire.outbox import Outbox, OutboxFull
from transom_wire.status import to_status

from transom_server.api import events
from transom_server.api.convert import id_of
from transom_server.api.events import Body
from transom_server.api.specs import Specs
from transom_server.api.validation import validate
from transom_server.dispatch import Dispatch
from transom_server.identity.caller import Caller
from transom_server.intake import Intake
from transom_server.keys import Keyed
from transom_server.run import Attempt, Follower, Following, Outcome, Piece, Request, Run, State, Waiting

MAX_QUEUED_EVENTS = 65_536
MAX_QUEUED_BYTES = 64 * MIB


class Encoded(msgspec.Struct):
    """One event, encoded as it is queued: a result's bytes are copied once, when its envelope is written."""

    run: Run | None
    size_bytes: int
    """Result bytes in it."""
    parts: Body

    def __repr__(self) -> str:
        return f"Encoded({self.size_bytes} bytes)"


@dataclass(slots=True)
class _Line:
    """One run on the stream: its next event number, and the result pieces that wait for the caller's credit."""

    tag: int
    head: bytes
    sequence: int = 0
    run: Run | None = None
    follower: Follower | None = None
    taker: Run | None = None
    """The run, if what has left counts as taken; not where its caller confirms what came."""
    given_up: bool = False
    """Whether the caller cancelled before the run was there."""
    room: int = RESULT_WINDOW_BYTES
    sent: int = 0
    held: deque[Piece] = field(default_factory=deque)
    ending: Body | None = None


class CallerStream:
    """Speak for many runs of one caller over one stream. Implements `Sink` for all of them."""

    def __init__(self, caller: Caller, intake: Intake, dispatch: Dispatch, specs: Specs, *, max_runs: int) -> None:
        self._caller = caller
        self._specs = specs
        self._intake = intake
        self._dispatch = dispatch
        self._max_runs = max_runs
        self._unconfirmed: dict[int, tuple[Following, Follower]] = {}
        """Runs that have ended on this stream, and may still be followed by another caller."""
        self._searching: set[asyncio.Task[None]] = set()
        self._lines: dict[int, _Line] = {}
        self._last_tag = -1
        self._half_closed = False
        self.outbox: Outbox[Encoded] = Outbox(max_items=MAX_QUEUED_EVENTS, max_bytes=MAX_QUEUED_BYTES)
        self.unread: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the caller has left so many events unread that the stream is to be dropped."""

    # What the caller says.

    def handle(self, items: Iterable[run_service_pb2.ProcessItem], data: memoryview | None = None) -> None:
        """Act on what the caller sent; `data` is the chunk's bytes if they were taken out of the only item."""
        for item in items:
            kind = item.WhichOneof("item")
            if kind == "start":
                self._start(item.tag, item.start, data)
                continue
            if kind == "attach":
                self._attach(item.tag, item.attach)
                continue
            line = self._lines.get(item.tag)
            if kind == "result_credit":
                self._credit(item.tag, line, item.result_credit)
            elif line is None:
                # The run has ended, while this was on its way.
                continue
            elif line.run is None:
                line.given_up |= kind == "cancel"
            elif kind == "chunk":
                chunk = item.chunk
                self._intake.append(line.run, chunk.document, chunk.offset, chunk.data if data is None else data, getattr(chunk, "pass"))
            elif kind == "cancel":
                self._cancel(line, line.run)

    def _credit(self, tag: int, line: _Line | None, credit: transfer_pb2.ByteCredit) -> None:
        if line is not None:
            line.room = max(line.room, credit.total_bytes)
            if line.run is not None and line.run.following is not None:
                # A caller grants a window beyond what it took; so far it needs nothing again.
                line.run.following.confirm(credit.total_bytes - RESULT_WINDOW_BYTES)
            self._flush(line)
        elif credit.ended and tag in self._unconfirmed:
            following, _ = self._unconfirmed.pop(tag)
            following.confirm(credit.total_bytes, ended=True)

    @property
    def lasts(self) -> bool:
        """Whether any run on the stream goes on without it."""
        return any(line.run is not None and line.run.following is not None and line.run.following.keeps for line in self._lines.values())

    def no_more(self) -> None:
        """Note that the caller half-closed: no more input, and never a cancel."""
        self._half_closed = True
        for line in list(self._lines.values()):
            self._no_more(line)
        self._close_when_done()

    def _no_more(self, line: _Line) -> None:
        if line.run is None:
            return
        if line.run.following is not None:
            line.run.following.loosen(line.sent)
            line.taker = line.run
        self._intake.no_more(line.run)
        self._flush(line)

    def abandon(self) -> None:
        """Cancel every run, since nobody listens any more, but for those that wait for another caller."""
        for task in self._searching:
            task.cancel()
        for line in list(self._lines.values()):
            if line.run is None:
                continue
            if line.run.following is None or line.follower is None:
                self._dispatch.cancel(line.run)
            else:
                line.run.following.leave(line.follower)
        for following, follower in self._unconfirmed.values():
            following.leave(follower)

    def _cancel(self, line: _Line, run: Run) -> None:
        # What the caller has no room for must not keep the outcome of a run that it gave up.
        line.held.clear()
        self._dispatch.cancel(run)
        self._flush(line)

    def _start(self, tag: int, start: run_service_pb2.StartRun, data: memoryview | None) -> None:
        line = self._open(tag)
        try:
            self._check_room()
            request = self._specs.request_of(start.spec)
            inline: list[Bytes] = list(start.inline_documents) if data is None else [data]
            if sum(map(len, inline)) > INLINE_BYTES:
                raise InvalidRequest("inline documents are larger than 64 KiB in all; send chunks instead")
            if start.spec.idempotency_key:
                self._start_once(line, request, inline, self._specs.keyed(self._caller.tenant, start.spec))
            else:
                line.run = self._intake.start(self._caller, request, self._follower(line), inline)
        except TransomError as error:
            self._fail(line, error)

    def _open(self, tag: int) -> _Line:
        # One comparison tells that a tag was never used, also for runs that have ended; a set of all would grow for ever.
        if tag <= self._last_tag:
            raise InvalidRequest("the tag of a new run must be larger than every tag before it on the stream")
        self._last_tag = tag
        line = self._lines[tag] = _Line(tag, events.line_head(tag))
        return line

    def _check_room(self) -> None:
        if len(self._lines) > self._max_runs:
            raise TooManyRuns

    def _follower(self, line: _Line) -> _LineSink:
        line.follower = follower = _LineSink(self, line)
        return follower

    def _fail(self, line: _Line, error: TransomError) -> None:
        if line.run is None:
            self._refuse(line, error)
        else:
            self._dispatch.fail(line.run, State.FAILED, error)

    # Runs that were asked for before, or may have been.

    def _start_once(self, line: _Line, request: Request, inline: list[Bytes], keyed: Keyed | None, *, searched: bool = False) -> None:
        assert keyed is not None
        follow = self._intake.followings.by_key(keyed)
        if follow is not None:
            self._intake.follow(follow, self._follower(line), 0, inline)
        elif searched:
            line.run = self._intake.start(self._caller, request, self._follower(line), inline, keyed)
        else:
            self._spawn(self._search(line, request, inline, keyed), f"search key {line.tag}")

    async def _search(self, line: _Line, request: Request, inline: list[Bytes], keyed: Keyed) -> None:
        """Start a run whose key nothing here knows, unless the ledger does; the reader goes on meanwhile."""
        try:
            await self._intake.followings.keys.search(keyed)
            if line.given_up:
                raise Cancelled
            self._start_once(line, request, inline, keyed, searched=True)
        except TransomError as error:
            self._fail(line, error)
        if self._half_closed:
            self._no_more(line)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._searching.add(task)
        task.add_done_callback(self._searching.discard)

    def _attach(self, tag: int, attach: run_service_pb2.AttachRun) -> None:
        line = self._open(tag)
        try:
            self._check_room()
            validate(attach)
            follow = self._intake.followings.by_token(id_of(attach.name), attach.token, self._caller.tenant)
            follow.check(attach.result_bytes)
            self._intake.follow(follow, self._follower(line), attach.result_bytes)
        except TransomError as error:
            self._fail(line, error)

    def _refuse(self, line: _Line, error: TransomError) -> None:
        outcome = run_pb2.Outcome(state=run_pb2.RUN_STATE_REJECTED, status=to_status(error), side_effects=run_pb2.SIDE_EFFECTS_NONE)
        self._end(line, events.refusal(outcome))

    # What goes back.

    def emit(self, line: _Line, body: Body, size_bytes: int = 0, *, rides: bool = False) -> None:
        """Queue an event under the run's tag and its next number; never fails, since others' calls lead here."""
        line.sequence += 1
        if self.unread.done():
            return
        try:
            event = Encoded(line.taker, size_bytes, events.numbered(line.head, line.sequence, body))
            self.outbox.put(event, size_bytes, rides=rides)
        except OutboxFull:
            self.unread.set_result(None)

    def hold(self, line: _Line, piece: Piece) -> None:
        """Queue a piece of a result, as soon as the caller has room for it."""
        line.held.append(piece)
        self._flush(line)

    def _flush(self, line: _Line) -> None:
        # After half-close no credit can come; the window of the runner's push still bounds what is queued.
        while line.held and (self._half_closed or line.sent + len(line.held[0].data) <= line.room):
            piece = line.held.popleft()
            size = len(piece.data)
            line.sent += size
            self.emit(line, events.result(piece), size)
        if not line.held and line.ending is not None:
            self._end(line, line.ending)

    def ended(self, line: _Line, state: State, body: Body) -> None:
        """Queue the outcome: behind every piece of the result of a success, at once otherwise."""
        if state is not State.SUCCEEDED:
            line.held.clear()
        if line.held:
            line.ending = body
        else:
            self._end(line, body)

    def _end(self, line: _Line, body: Body) -> None:
        self._lines.pop(line.tag, None)
        self.emit(line, body)
        run = line.run
        if run is not None and line.follower is not None and run.following is not None and run.following.keeps and run.ended:
            if len(self._unconfirmed) >= self._max_runs:
                self._unconfirmed = {tag: one for tag, one in self._unconfirmed.items() if not one[0].over}
            self._unconfirmed[line.tag] = run.following, line.follower
        self._close_when_done()

    def taken_over(self, line: _Line) -> None:
        """End a line whose run another caller follows now."""
        self._unconfirmed.pop(line.tag, None)
        if line.run is not None and self._lines.get(line.tag) is line:
            line.held.clear()
            line.follower = None
            self._end(line, events.taken_over(line.run))

    def _close_when_done(self) -> None:
        if self._half_closed and not self._lines:
            self.outbox.close()

    def written(self, written: Iterable[Encoded]) -> None:
        """Note that events have left: their runners may send more."""
        for event in written:
            if event.size_bytes and event.run is not None:
                event.run.taken(event.size_bytes)


class _LineSink:
    """One run's events, put on its line of the stream."""

    __slots__ = ("_line", "_stream")

    def __init__(self, stream: CallerStream, line: _Line) -> None:
        self._stream = stream
        self._line = line

    def accepted(self, run: Run) -> None:
        """Tell the caller the run's name."""
        line, following = self._line, run.following
        line.run = run
        if following is not None:
            line.sent = following.resumes_at
            line.room = max(line.room, line.sent + RESULT_WINDOW_BYTES)
            line.taker = None if following.keeps else run
            self._stream.emit(line, events.followed(run, following))
            return
        line.taker = run
        # Nobody waits for a run's name: it rides along with what the run does first.
        self._stream.emit(line, events.accepted(run), rides=True)

    def upload_credit(self, run: Run, total_bytes: int, pass_number: int) -> None:
        """Grant document bytes."""
        self._stream.emit(self._line, events.upload_credit(total_bytes, pass_number))

    def waiting(self, run: Run, why: Waiting) -> None:
        """Say why the run waits."""
        self._stream.emit(self._line, events.waiting(why))

    def started(self, run: Run, attempt: Attempt) -> None:
        """Say which runner has it."""
        self._stream.emit(self._line, events.started(attempt), rides=True)

    def progress(self, run: Run, done: int, total: int) -> None:
        """Say how far it is."""
        self._stream.emit(self._line, events.progress(done, total))

    def replay(self, run: Run, pass_number: int) -> None:
        """Ask for the documents again."""
        self._stream.emit(self._line, events.replay(pass_number))

    def result(self, run: Run, piece: Piece) -> None:
        """Pass on a piece of the result."""
        self._stream.hold(self._line, piece)

    def outcome(self, run: Run, outcome: Outcome) -> None:
        """Say how it ended."""
        self._stream.ended(self._line, outcome.state, events.outcome(run, outcome))

    def taken_over(self, run: Run) -> None:
        """Say that another caller has it now."""
        self._stream.taken_over(self._line)
