"""What a caller hears of a run, in order: events, of which `Ended` is the last."""

from __future__ import annotations

from dataclasses import dataclass, field

from transom.runs.v1 import run_pb2
from transom_wire.errors import TransomError
from transom_wire.status import from_status

from transom_client.pages import Page
from transom_client.states import Containment, RunState, SideEffects, Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSummary:
    """One attempt at a run."""

    attempt: int
    runner: str
    state: RunState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the runner measured about the processes that held content."""

    containment: Containment
    processes: int
    disk_write_blocks: int
    discarded_output_bytes: int
    peak_rss_bytes: int
    cpu_time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run ended."""

    state: RunState
    error: TransomError | None
    """Why it did not succeed."""
    side_effects: SideEffects
    attempts: tuple[AttemptSummary, ...] = ()
    queued_s: float = 0.0
    running_s: float = 0.0
    total_s: float = 0.0
    evidence: Evidence | None = None
    parts: int = 0
    pages: int = 0
    pages_failed: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether there is a usable result; single pages may still have failed."""
        return self.state is RunState.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The run exists. A second one says that the run was sent again after the connection broke."""

    run: str
    """Resource name, `runs/{run}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """The run waits. Advisory."""

    reason: Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A runner took the run. Pages and parts of earlier attempts are void."""

    attempt: int
    """From 1; grows also when the run was sent again."""
    runner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the attempt is."""

    done: int
    total: int
    """0 when not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDone:
    """One page of the result."""

    document: int
    """Which document, from 0."""
    page: Page
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """One part of the result that is not a page."""

    document: int
    """Which document, from 0."""
    page: int
    """Which page, from 1; 0 when the part is about the whole document."""
    media_type: str
    data: bytes = field(repr=False)
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run ended: exactly one, and last."""

    outcome: Outcome


Event = Accepted | Queued | AttemptStarted | Progress | PageDone | PartDone | Ended


def outcome_of(message: run_pb2.Outcome) -> Outcome:
    """Read an outcome from its message."""
    timing = message.timing
    return Outcome(
        state=RunState(message.state),
        error=from_status(message.status) if message.status.code else None,
        side_effects=SideEffects(message.side_effects),
        attempts=tuple(
            AttemptSummary(attempt=one.attempt, runner=one.runner, state=RunState(one.state), reason=one.reason) for one in message.attempts
        ),
        queued_s=timing.queued.ToTimedelta().total_seconds(),
        running_s=timing.running.ToTimedelta().total_seconds(),
        total_s=timing.total.ToTimedelta().total_seconds(),
        evidence=evidence_of(message.evidence) if message.HasField("evidence") else None,
        parts=message.parts,
        pages=message.pages,
        pages_failed=message.pages_failed,
    )


def evidence_of(message: run_pb2.Evidence) -> Evidence:
    """Read evidence from its message."""
    return Evidence(
        containment=Containment(message.containment),
        processes=message.processes,
        disk_write_blocks=message.disk_write_blocks,
        discarded_output_bytes=message.discarded_output_bytes,
        peak_rss_bytes=message.peak_rss_bytes,
        cpu_time_s=message.cpu_time.ToTimedelta().total_seconds(),
    )
