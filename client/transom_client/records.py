"""What the server remembers and knows: runs, runners and actions, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import fleet_service_pb2
from transom.runs.v1 import run_pb2

from transom_client.events import Evidence, evidence_of
from transom_client.states import ActionKind, Containment, Persistence, RunnerStatus, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The metadata of a run."""

    name: str
    """Resource name, `runs/{run}`."""
    action: str
    state: RunState
    reason: str
    principal: str
    runner: str
    attempts: int
    documents: int
    size_bytes: int
    pages: int
    pages_failed: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    evidence: Evidence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A runner as the server knows it."""

    name: str
    """Resource name, `runners/{runner}`."""
    hostname: str
    status: RunnerStatus
    pool: str
    actions: tuple[str, ...]
    containment: Containment
    last_seen_at: datetime | None
    software: str
    running: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """The runs of one tenant that wait for one action."""

    action: str
    tenant: str
    depth: int
    oldest_age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action that a connected runner offers."""

    name: str
    plugin: str
    version: str
    summary: str
    kind: ActionKind
    media_types: tuple[str, ...]
    parameters_schema: str
    """JSON Schema of its parameters, as JSON text."""
    idempotent: bool
    hosts: tuple[str, ...]
    persistence: Persistence
    max_bytes: int
    max_pages: int


def run_of(message: run_pb2.Run) -> Run:
    """Read a run from its message."""
    return Run(
        name=message.name,
        action=message.action,
        state=RunState(message.state),
        reason=message.reason,
        principal=message.principal,
        runner=message.runner,
        attempts=message.attempts,
        documents=message.documents,
        size_bytes=message.size_bytes,
        pages=message.pages,
        pages_failed=message.pages_failed,
        created_at=_moment(message.create_time),
        started_at=_moment(message.start_time),
        ended_at=_moment(message.end_time),
        evidence=evidence_of(message.evidence) if message.HasField("evidence") else None,
    )


def runner_of(message: fleet_service_pb2.Runner) -> Runner:
    """Read a runner from its message."""
    return Runner(
        name=message.name,
        hostname=message.hostname,
        status=RunnerStatus(message.status),
        pool=message.pool,
        actions=tuple(message.actions),
        containment=Containment(message.containment),
        last_seen_at=_moment(message.last_seen_time),
        software=message.software,
        running=message.running,
        labels=dict(message.labels),
    )


def queue_row_of(message: fleet_service_pb2.QueueRow) -> QueueRow:
    """Read a row of the queue from its message."""
    age_s = message.oldest_age.seconds + message.oldest_age.nanos / 1e9
    return QueueRow(action=message.action, tenant=message.tenant, depth=message.depth, oldest_age_s=age_s)


def action_of(message: action_pb2.Action) -> Action:
    """Read an action from its message."""
    return Action(
        name=message.name,
        plugin=message.plugin,
        version=message.version,
        summary=message.summary,
        kind=ActionKind(message.kind),
        media_types=tuple(message.media_types),
        parameters_schema=message.parameters_schema,
        idempotent=message.idempotent,
        hosts=tuple(message.hosts),
        persistence=Persistence(message.persistence),
        max_bytes=message.max_bytes,
        max_pages=message.max_pages,
    )


def _moment(message: Timestamp) -> datetime | None:
    if not message.seconds and not message.nanos:
        return None
    return message.ToDatetime(UTC)
