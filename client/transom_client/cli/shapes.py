"""The JSON that the command line prints: what programs rely on. Keys are only ever added."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from transom_wire.errors import TransomError

from transom_client.cli.output import iso
from transom_client.events import Evidence, Outcome, PageDone, PartDone
from transom_client.pages import WordRange
from transom_client.records import Action, QueueRow, Run, Runner

Shape = dict[str, object]


def page_shape(done: PageDone, file: str) -> Shape:
    """Describe a page."""
    page = done.page
    return {
        "type": "page",
        "document": done.document,
        "file": file,
        "page": page.number,
        "attempt": done.attempt,
        "engine": page.engine,
        "source": page.source.name,
        "width": page.width,
        "height": page.height,
        "unit": page.unit.name,
        "rotation": page.rotation,
        "dpi": page.dpi,
        "elapsed_ms": round(page.elapsed_ms, 3),
        "mean_confidence": _rounded(page.mean_confidence),
        "text": page.text,
        "words": [
            {"text": word.text, "polygon": [round(one, 5) for one in word.polygon], "confidence": _rounded(word.confidence)}
            for word in page.words
        ],
        "lines": _ranges(page.lines),
        "blocks": _ranges(page.blocks),
        "error": error_shape(page.error),
    }


def part_shape(done: PartDone, file: str) -> Shape:
    """Describe a part that is not a page."""
    return {
        "type": "part",
        "document": done.document,
        "file": file,
        "page": done.page,
        "attempt": done.attempt,
        "media_type": done.media_type,
        "size_bytes": len(done.data),
        "data": base64.b64encode(done.data).decode("ascii"),
    }


def outcome_shape(outcome: Outcome, run: str) -> Shape:
    """Describe how a run ended."""
    return {
        "type": "outcome",
        "run": run,
        "state": outcome.state.name,
        "error": error_shape(outcome.error),
        "side_effects": outcome.side_effects.name,
        "pages": outcome.pages,
        "pages_failed": outcome.pages_failed,
        "attempts": [
            {"attempt": one.attempt, "runner": one.runner, "state": one.state.name, "reason": one.reason} for one in outcome.attempts
        ],
        "queued_ms": round(outcome.queued_s * 1000, 3),
        "running_ms": round(outcome.running_s * 1000, 3),
        "total_ms": round(outcome.total_s * 1000, 3),
        "evidence": evidence_shape(outcome.evidence),
    }


def evidence_shape(evidence: Evidence | None) -> Shape | None:
    """Describe evidence."""
    if evidence is None:
        return None
    return {
        "containment": evidence.containment.name,
        "processes": evidence.processes,
        "disk_write_blocks": evidence.disk_write_blocks,
        "discarded_output_bytes": evidence.discarded_output_bytes,
        "peak_rss_bytes": evidence.peak_rss_bytes,
        "cpu_ms": round(evidence.cpu_time_s * 1000, 3),
    }


def error_shape(error: TransomError | None) -> Shape | None:
    """Describe an error."""
    if error is None:
        return None
    violations = [{"field": field, "description": text} for field, text in error.violations]
    return {"reason": error.reason, "message": error.message, "violations": violations}


def run_shape(run: Run) -> Shape:
    """Describe what the server remembers of a run."""
    return {
        "name": run.name,
        "action": run.action,
        "state": run.state.name,
        "reason": run.reason,
        "principal": run.principal,
        "runner": run.runner,
        "attempts": run.attempts,
        "documents": run.documents,
        "size_bytes": run.size_bytes,
        "pages": run.pages,
        "pages_failed": run.pages_failed,
        "create_time": iso(run.created_at),
        "start_time": iso(run.started_at),
        "end_time": iso(run.ended_at),
        "evidence": evidence_shape(run.evidence),
    }


def runner_shape(runner: Runner) -> Shape:
    """Describe a runner."""
    return {
        "name": runner.name,
        "hostname": runner.hostname,
        "status": runner.status.name,
        "pool": runner.pool,
        "actions": list(runner.actions),
        "containment": runner.containment.name,
        "last_seen_time": iso(runner.last_seen_at),
        "software": runner.software,
        "running": runner.running,
        "labels": dict(runner.labels),
    }


def queue_shape(row: QueueRow) -> Shape:
    """Describe what waits for one action."""
    return {"action": row.action, "tenant": row.tenant, "depth": row.depth, "oldest_age_s": round(row.oldest_age_s, 3)}


def action_shape(action: Action) -> Shape:
    """Describe an action."""
    return {
        "name": action.name,
        "plugin": action.plugin,
        "version": action.version,
        "summary": action.summary,
        "kind": action.kind.name,
        "media_types": list(action.media_types),
        "parameters": json.loads(action.parameters_schema or "{}"),
        "idempotent": action.idempotent,
        "hosts": list(action.hosts),
        "persistence": action.persistence.name,
        "max_bytes": action.max_bytes,
        "max_pages": action.max_pages,
    }


def _ranges(ranges: Sequence[WordRange]) -> list[Shape]:
    return [{"first": one.first, "count": one.count} for one in ranges]


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if value is not None else None
