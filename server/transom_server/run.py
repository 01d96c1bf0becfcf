"""One live run: what was asked, where it stands, and who waits for it.

Values that every run makes are msgspec structs: a frozen dataclass takes ten times as long to make.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import msgspec
from transom_wire.encoding import Bytes
from transom_wire.errors import TransomError

from transom_server.payload import Payload
from transom_server.scheduling.job import Concurrency, Job, Label, Need, Rate


class State(IntEnum):
    """Where a run stands; numbers as in transom.runs.v1.RunState."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    DEADLINE_EXCEEDED = 6
    LOST = 7
    REJECTED = 8


class SideEffects(IntEnum):
    """Whether an effect outside may have happened; numbers as in transom.runs.v1.SideEffects."""

    UNSPECIFIED = 0
    NONE = 1
    POSSIBLE = 2


class Replay(IntEnum):
    """How documents can be sent again; numbers as in transom.runs.v1.ReplayMode."""

    SERVER_MEMORY = 1
    CALLER = 2
    NONE = 3


class Waiting(IntEnum):
    """Why a run waits; numbers as in transom.runs.v1.Queued.Reason."""

    NO_RUNNER = 1
    BUSY = 2
    MEMORY = 3
    LIMIT = 4
    """Its own concurrency key is full, or its rate has no token: a free runner would not help."""


class DocumentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller promises about one document."""

    media_type: str
    size_bytes: int
    sha256: bytes


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks of the order and place in which runs are done."""

    priority: int = 3
    pool: str = ""
    require: frozenset[Label] = frozenset()
    prefer: frozenset[Label] = frozenset()
    concurrency: Concurrency | None = None
    rates: tuple[Rate, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asks for: everything but the bytes."""

    action: str
    parameters: Mapping[str, Any]
    documents: tuple[DocumentSpec, ...]
    timeout_s: float
    min_containment: int
    max_persistence: int
    zone: str
    replay: Replay
    max_attempts: int
    size_bytes: int
    """Size of all documents."""
    has_digests: bool
    """Whether any document's digest was promised."""
    turn: Turn = Turn()
    """When and where it may run."""
    detach_grace_s: float = 0.0
    """How long the run goes on without a caller."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the runner measured about the processes that held content."""

    containment: int = 0
    processes: int = 0
    disk_write_blocks: int = 0
    discarded_output_bytes: int = 0
    peak_rss_bytes: int = 0
    cpu_time_s: float = 0.0


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a result on its way to the caller."""

    part: int
    offset: int
    data: Bytes
    last: bool
    document: int
    page: int
    media_type: str
    attempt: int

    def __repr__(self) -> str:
        return f"Piece(part={self.part}, {len(self.data)} bytes)"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at a run."""

    number: int
    token: int
    session: str
    runner: str
    started_at: float
    accepted: bool = False
    side_effects: SideEffects = SideEffects.NONE
    state: State = State.RUNNING
    reason: str = ""
    revoke: asyncio.TimerHandle | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as its runner reports it."""

    state: State
    error: TransomError | None
    side_effects: SideEffects
    evidence: Evidence
    parts: int
    pages: int
    pages_failed: int
    running_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    state: State
    error: TransomError | None
    side_effects: SideEffects
    evidence: Evidence
    parts: int
    pages: int
    pages_failed: int
    queued_s: float
    running_s: float
    total_s: float


class Sink(Protocol):
    """Whoever waits for a run. Nothing here ever waits."""

    def accepted(self, run: Run) -> None:
        """The run exists."""

    def upload_credit(self, run: Run, total_bytes: int, pass_number: int) -> None:
        """So many document bytes may have been sent in this pass."""

    def waiting(self, run: Run, why: Waiting) -> None:
        """The run waits."""

    def started(self, run: Run, attempt: Attempt) -> None:
        """A runner took it."""

    def progress(self, run: Run, done: int, total: int) -> None:
        """The attempt got further."""

    def replay(self, run: Run, pass_number: int) -> None:
        """All documents must be sent again."""

    def result(self, run: Run, piece: Piece) -> None:
        """A piece of the result; `run.taken` is to be called once it has left."""

    def outcome(self, run: Run, outcome: Outcome) -> None:
        """The run ended."""


class Follower(Sink, Protocol):
    """A sink that another may take over from: the next caller of the same run."""

    def taken_over(self, run: Run) -> None:
        """Another has the run from now on."""


class Following(Protocol):
    """What ties a run to one follower after another, as far as those that know the run need it."""

    token: bytes
    """What shows that a caller may follow the run."""
    joined: bool
    """Whether the follower is not the first."""
    over: bool
    """Whether nobody can follow the run any more."""
    resumes_at: int
    """Where the result goes on for this follower, in bytes over all attempts."""

    @property
    def keeps(self) -> bool:
        """Whether the result is kept until the follower confirms it."""

    def confirm(self, size_bytes: int, *, ended: bool = False) -> None:
        """The follower has so many bytes of the result, and with `ended` the outcome too."""

    def loosen(self, sent_bytes: int) -> None:
        """The follower, which was sent so many bytes, can confirm nothing any more: what is passed on counts as confirmed."""

    def leave(self, follower: Follower) -> None:
        """The follower is gone."""


class RandomBytes:
    """Unguessable bytes, taken from the system a block at a time: a system call for each costs more than the rest of an id."""

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return bytes that were never returned before."""
        if self._at + count > len(self._block):
            self._block, self._at = os.urandom(4096), 0
        taken = self._block[self._at : self._at + count]
        self._at += count
        return taken


RANDOM = RandomBytes()


def new_id() -> str:
    """Make a run's id: 48 bits of time, so that ids sort by age, and 80 random bits, so that none can be guessed."""
    return f"{int(time.time() * 1000):012x}{RANDOM.take(10).hex()}"


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A live run. Its bytes are in `payload`, which nothing but intake, transfer and outcome touches."""

    id: str
    tenant: str
    principal: str
    request: Request
    sink: Sink
    payload: Payload
    following: Following | None = None
    """Set if another caller may come to follow the run."""
    key_hash: str = ""
    reserved_bytes: int = 0
    inline_result_bytes: int = 0
    """How much of its result may come on a runner's session: it is reserved."""
    inline_result_taken: int = 0
    inline_parts: int = 0
    """How many whole parts of the current attempt's result have come on a runner's session."""
    on_inline_part: Callable[[], None] | None = None
    """Told of each, once somebody waits for it."""
    push_reserved: bool = False
    """Whether the window of a pushed result is reserved, or about to be."""
    state: State = State.QUEUED
    attempts: list[Attempt] = field(default_factory=list)
    outcome: Outcome | None = None
    deadline: asyncio.TimerHandle | None = None
    created_at: float = field(default_factory=time.time)
    """Seconds since 1970, for people; waits use `clock`."""
    clock: float = field(default_factory=time.monotonic)
    started_at: float = 0.0
    started_clock: float = 0.0
    input_ended: bool = False
    """Whether the caller has said that nothing more comes, not even again."""
    result_taken: int = 0
    """Result bytes of the current attempt that have left for the caller."""
    on_taken: asyncio.Event | None = None
    """Set whenever that grows, once somebody waits for it."""
    watchers: set[asyncio.Event] = field(default_factory=set)

    def __repr__(self) -> str:
        return f"Run({self.id}, {self.state.name})"

    @property
    def attempt(self) -> Attempt | None:
        """The attempt in progress: the last one, while the run is running."""
        return self.attempts[-1] if self.attempts and self.state is State.RUNNING else None

    @property
    def ended(self) -> bool:
        """Whether the run has its outcome."""
        return self.outcome is not None

    def job(self) -> Job:
        """Describe the run as the scheduler may know it."""
        request, turn = self.request, self.request.turn
        unwilling = frozenset(attempt.session for attempt in self.attempts if not attempt.accepted)
        return Job(
            run=self.id, tenant=self.tenant, size_bytes=request.size_bytes, avoid=unwilling, priority=turn.priority, prefer=turn.prefer,
            need=Need(request.action, request.min_containment, request.zone, turn.pool, turn.require),
            concurrency=turn.concurrency, rates=turn.rates,
        )  # fmt: skip

    def time_left_s(self) -> float:
        """Seconds until the deadline; may be negative."""
        return self.clock + self.request.timeout_s - time.monotonic()

    def taken(self, size_bytes: int) -> None:
        """Note that result bytes have left for the caller, so that the runner may send more."""
        self.result_taken += size_bytes
        if self.on_taken is not None:
            self.on_taken.set()

    def changed(self) -> None:
        """Wake whoever watches the run."""
        for watcher in self.watchers:
            watcher.set()
