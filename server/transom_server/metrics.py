"""Count what operators watch. No label ever holds a caller's value."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from transom_server.run import Outcome, State

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600)


class Metrics:
    """The server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.live_runs = Gauge("transom_live_runs", "Runs without an outcome", registry=self.registry)
        self.held_bytes = Gauge("transom_reserved_bytes", "Bytes reserved from the memory budget", registry=self.registry)
        self.sessions = Gauge("transom_runner_sessions", "Connected runners", registry=self.registry)
        self._runs = Counter("transom_runs", "Runs by final state", ["state"], registry=self.registry)
        self._queued = Histogram("transom_run_queued_seconds", "Time to the first assignment", buckets=SECONDS, registry=self.registry)
        self._total = Histogram("transom_run_seconds", "Time to the outcome", buckets=SECONDS, registry=self.registry)
        self._by_state = {state: self._runs.labels(state=state.name.lower()) for state in State}
        self._rpcs = Counter("transom_rpcs", "RPCs by method and status code", ["method", "code"], registry=self.registry)

    def ended(self, outcome: Outcome) -> None:
        """Count a run's end."""
        self.live_runs.dec()
        self._by_state[outcome.state].inc()
        self._queued.observe(outcome.queued_s)
        self._total.observe(outcome.total_s)

    def rpc(self, method: str, code: str) -> None:
        """Count an RPC's end."""
        self._rpcs.labels(method=method, code=code).inc()
