"""Turn values into messages and back, where more than one service needs it."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from transom.plugins.v1 import action_pb2
from transom.runs.v1 import run_pb2
from transom_wire.errors import BadParameters, DeadlinePast, InvalidRequest
from transom_wire.limits import SERVER_MEMORY_BYTES
from transom_wire.status import to_status

from transom_server.offers import Action
from transom_server.run import DocumentSpec, Evidence, Outcome, Replay, Request, Run, Turn
from transom_server.scheduling.job import Concurrency, Conflict, Rate

DEFAULT_ATTEMPTS = 3
DEFAULT_PRIORITY = 3
CONFLICTS = {
    run_pb2.Concurrency.CONFLICT_UNSPECIFIED: Conflict.QUEUE,
    run_pb2.Concurrency.CONFLICT_QUEUE: Conflict.QUEUE,
    run_pb2.Concurrency.CONFLICT_SKIP: Conflict.SKIP,
    run_pb2.Concurrency.CONFLICT_CANCEL_OLDER: Conflict.CANCEL_OLDER,
    run_pb2.Concurrency.CONFLICT_FAIL: Conflict.FAIL,
}


def duration(seconds: float) -> Duration:
    """Make a Duration."""
    made = Duration()
    _set(made, seconds)
    return made


def seconds(value: Duration) -> float:
    """Read a Duration."""
    return value.seconds + value.nanos / 1e9


def timestamp(at: float) -> Timestamp:
    """Make a Timestamp from seconds since 1970."""
    whole = int(at)
    return Timestamp(seconds=whole, nanos=int((at - whole) * 1e9) // 1000 * 1000)


def request_of(spec: run_pb2.RunSpec) -> Request:
    """Read a validated spec.

    Raises:
        BadParameters: A number among them is not finite.
        DeadlinePast: The timeout is negative, or zero though given.
        InvalidRequest: The containment asked for is none at all, by a default and not by name.
    """
    documents = tuple([DocumentSpec(media_type=one.media_type, size_bytes=one.size_bytes, sha256=one.sha256) for one in spec.documents])
    total = sum([document.size_bytes for document in documents])
    timeout_s = 0.0
    if spec.HasField("timeout"):
        timeout_s = seconds(spec.timeout)
        if timeout_s <= 0:
            raise DeadlinePast
    grace_s = seconds(spec.detach_grace) if spec.HasField("detach_grace") else 0.0
    if grace_s < 0:
        raise InvalidRequest(violations=[("detach_grace", "must not be negative")])
    replay = spec.replay_mode or (Replay.SERVER_MEMORY if total <= SERVER_MEMORY_BYTES else Replay.CALLER)
    return Request(
        action=spec.target.action,
        parameters=_parameters(spec),
        documents=documents,
        timeout_s=timeout_s,
        min_containment=spec.min_containment,
        max_persistence=spec.max_persistence,
        zone=spec.zone,
        replay=Replay(replay),
        max_attempts=spec.max_attempts or DEFAULT_ATTEMPTS,
        size_bytes=total,
        has_digests=any(document.sha256 for document in documents),
        turn=_turn(spec),
        detach_grace_s=grace_s,
    )


def _turn(spec: run_pb2.RunSpec) -> Turn:
    asked = spec.concurrency
    concurrency = Concurrency(asked.key, asked.limit or 1, CONFLICTS[asked.conflict]) if spec.HasField("concurrency") else None
    return Turn(
        priority=spec.priority or DEFAULT_PRIORITY, pool=spec.pool, require=frozenset(spec.require_labels.items()),
        prefer=frozenset(spec.prefer_labels.items()), concurrency=concurrency,
        rates=tuple(Rate(one.key, one.runs, seconds(one.per)) for one in spec.rate_limits),
    )  # fmt: skip


def _parameters(spec: run_pb2.RunSpec) -> dict[str, Any]:
    if not spec.HasField("parameters"):
        return {}
    try:
        return MessageToDict(spec.parameters)
    except (ValueError, JsonError):
        # JSON has no word for them, and the error's text would quote what is beside them.
        raise BadParameters(violations=[("parameters", "numbers must be finite")]) from None


def name_of(run_id: str) -> str:
    """Make a run's resource name."""
    return f"runs/{run_id}"


def id_of(name: str) -> str:
    """Read a run's resource name.

    Raises:
        InvalidRequest: It is not one.
    """
    collection, _, run_id = name.partition("/")
    if collection != "runs" or not run_id.isalnum() or len(run_id) > 64:
        raise InvalidRequest(violations=[("name", "must be runs/{run}")])
    return run_id


def _set(duration: Duration, seconds: float) -> None:
    whole = int(seconds)
    if whole:
        duration.seconds = whole
    duration.nanos = int((seconds - whole) * 1e9)


def _fill(message: run_pb2.Evidence, evidence: Evidence) -> None:
    message.containment = evidence.containment  # type: ignore[assignment]
    message.processes = evidence.processes
    message.disk_write_blocks = evidence.disk_write_blocks
    message.discarded_output_bytes = evidence.discarded_output_bytes
    message.peak_rss_bytes = evidence.peak_rss_bytes
    _set(message.cpu_time, evidence.cpu_time_s)


def outcome_message(run: Run, outcome: Outcome) -> run_pb2.Outcome:
    """Describe how a run ended. Fields are set in place: parts made apart would be copied, at twice the time."""
    message = run_pb2.Outcome(
        state=int(outcome.state), side_effects=int(outcome.side_effects), parts=outcome.parts, pages=outcome.pages,  # type: ignore[arg-type]
        pages_failed=outcome.pages_failed,
    )  # fmt: skip
    timing = message.timing
    _set(timing.queued, outcome.queued_s)
    _set(timing.running, outcome.running_s)
    _set(timing.total, outcome.total_s)
    if outcome.evidence.containment:
        _fill(message.evidence, outcome.evidence)
    for attempt in run.attempts:
        message.attempts.add(attempt=attempt.number, runner=attempt.runner, state=int(attempt.state), reason=attempt.reason)
    if outcome.error is not None:
        message.status.CopyFrom(to_status(outcome.error))
    return message


def run_message(run: Run) -> run_pb2.Run:
    """Describe a live run's metadata."""
    outcome = run.outcome
    message = run_pb2.Run(
        name=name_of(run.id),
        action=run.request.action,
        state=int(run.state),  # type: ignore[arg-type]
        reason=outcome.error.reason if outcome is not None and outcome.error is not None else "",
        principal=run.principal,
        runner=run.attempts[-1].runner if run.attempts else "",
        attempts=len(run.attempts),
        documents=len(run.request.documents),
        size_bytes=run.request.size_bytes,
        create_time=timestamp(run.created_at),
        start_time=timestamp(run.started_at) if run.started_at else None,
    )
    if outcome is not None:
        message.pages, message.pages_failed = outcome.pages, outcome.pages_failed
        message.end_time.CopyFrom(timestamp(run.created_at + outcome.total_s))
        if outcome.evidence.containment:
            _fill(message.evidence, outcome.evidence)
    return message


def action_message(action: Action) -> action_pb2.Action:
    """Describe an action."""
    return action_pb2.Action(
        name=action.name, plugin=action.plugin, version=action.version, summary=action.summary, kind=action.kind,  # type: ignore[arg-type]
        media_types=action.media_types, parameters_schema=action.parameters_schema, idempotent=action.idempotent, hosts=action.hosts,
        persistence=action.persistence, max_bytes=action.max_bytes, max_pages=action.max_pages,  # type: ignore[arg-type]
    )  # fmt: skip
