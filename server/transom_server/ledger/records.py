"""Turn what happened into records, and records into what people read."""

from __future__ import annotations

import re
from typing import Any, Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from transom.ledger.v1 import record_pb2
from transom.runs.v1 import run_pb2

from transom_server.run import Evidence, Run

UNPLAIN = re.compile(r"[^A-Za-z0-9_.:/@+-]")


class SeenRunner(Protocol):
    """A runner, as far as the ledger remembers it."""

    runner: str
    hostname: str
    pool: str
    software: str
    containment: int
    heard_at: float

    @property
    def action_names(self) -> list[str]:
        """Names of its actions."""


def run_record(run: Run) -> record_pb2.RunRecord:
    """Describe a run."""
    outcome = run.outcome
    evidence = outcome.evidence if outcome is not None else Evidence()
    error = outcome.error if outcome is not None else None
    return record_pb2.RunRecord(
        run=run.id, tenant=run.tenant, principal=run.principal, action=run.request.action, state=int(run.state),
        reason=error.reason if error is not None else "", runner=run.attempts[-1].runner if run.attempts else "",
        attempts=len(run.attempts), documents=len(run.request.documents), size_bytes=run.request.size_bytes,
        pages=outcome.pages if outcome else 0, pages_failed=outcome.pages_failed if outcome else 0,
        create_time_us=int(run.created_at * 1e6), start_time_us=int(run.started_at * 1e6),
        end_time_us=int((run.created_at + outcome.total_s) * 1e6) if outcome else 0, containment=evidence.containment,
        processes=evidence.processes, disk_write_blocks=evidence.disk_write_blocks,
        discarded_output_bytes=evidence.discarded_output_bytes, peak_rss_bytes=evidence.peak_rss_bytes,
        cpu_time_us=int(evidence.cpu_time_s * 1e6), key_hash=run.key_hash,
    )  # fmt: skip


def runner_record(runner: SeenRunner) -> record_pb2.RunnerRecord:
    """Describe a runner; what it says of itself is reduced to plain identifiers."""
    return record_pb2.RunnerRecord(
        runner=runner.runner, hostname=_plain(runner.hostname), pool=_plain(runner.pool), software=_plain(runner.software),
        containment=runner.containment, last_seen_time_us=int(runner.heard_at * 1e6),
        actions=[_plain(name) for name in runner.action_names],
    )  # fmt: skip


def _plain(text: str) -> str:
    return UNPLAIN.sub("_", text)[:253]


def run_from_row(row: Any) -> run_pb2.Run:
    """Describe a remembered run."""
    run = run_pb2.Run(
        name=f"runs/{row.run}", action=row.action, state=row.state, reason=row.reason, principal=row.principal, runner=row.runner,
        attempts=row.attempts, documents=row.documents, size_bytes=row.size_bytes, pages=row.pages, pages_failed=row.pages_failed,
        create_time=_time(row.create_time_us), start_time=_time(row.start_time_us), end_time=_time(row.end_time_us),
    )  # fmt: skip
    if row.containment:
        run.evidence.CopyFrom(
            run_pb2.Evidence(
                containment=row.containment, processes=row.processes, disk_write_blocks=row.disk_write_blocks,
                discarded_output_bytes=row.discarded_output_bytes, peak_rss_bytes=row.peak_rss_bytes,
                cpu_time=Duration(seconds=row.cpu_time_us // 10**6, nanos=row.cpu_time_us % 10**6 * 1000),
            )
        )  # fmt: skip
    return run


def _time(microseconds: int) -> Timestamp | None:
    return Timestamp(seconds=microseconds // 10**6, nanos=microseconds % 10**6 * 1000) if microseconds else None
