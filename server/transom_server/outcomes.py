"""End runs: tell whoever waits, let the bytes go, and note in the ledger what may be remembered."""

from __future__ import annotations

import time
from typing import Protocol

from transom_server.budget import Budget
from transom_server.metrics import Metrics
from transom_server.run import Done, Outcome, Run


class Journal(Protocol):
    """Where run metadata is noted. Never waits."""

    def note(self, run: Run) -> None:
        """Note how a run stands now."""


class Outcomes:
    """Give every run exactly one outcome."""

    def __init__(self, budget: Budget, journal: Journal, metrics: Metrics) -> None:
        self._budget = budget
        self._journal = journal
        self._metrics = metrics

    def begin(self, run: Run) -> None:
        """Note that a run exists."""
        self._metrics.live_runs.inc()
        self._journal.note(run)

    def finish(self, run: Run, done: Done) -> None:
        """End a run: the only place that sets an outcome, and it does so once."""
        assert run.outcome is None
        now = time.monotonic()
        started = run.started_clock or now
        run.state = done.state
        run.outcome = Outcome(
            state=done.state, error=done.error, side_effects=done.side_effects, evidence=done.evidence, parts=done.parts,
            pages=done.pages, pages_failed=done.pages_failed,
            queued_s=started - run.clock, running_s=now - started, total_s=now - run.clock,
        )  # fmt: skip
        run.sink.outcome(run, run.outcome)

    def settle(self, run: Run) -> None:
        """Let an ended run's bytes go, and note its end."""
        assert run.outcome is not None
        run.payload.drop()
        self._budget.release(run.reserved_bytes)
        run.reserved_bytes = 0
        run.taken(0)
        self._journal.note(run)
        self._metrics.ended(run.outcome)
        run.changed()
