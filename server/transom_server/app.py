"""Build every object of the server once, in order, and close them in reverse. Nothing happens at import."""

from __future__ import annotations

import asyncio
import ctypes
import logging
from pathlib import Path

from grpc_health.v1 import health_pb2
from transom_wire.trimming import trim_when_idle

from transom_server.api.fleet import ActionService, FleetService
from transom_server.api.runners import RunnerService
from transom_server.api.runs import RunService
from transom_server.budget import Budget
from transom_server.config import Config
from transom_server.dispatch import Dispatch
from transom_server.following import Followings
from transom_server.http import HttpPort
from transom_server.identity.tokens import TokenVerifier, load_key
from transom_server.intake import Intake, Limits
from transom_server.keys import Keys
from transom_server.ledger.book import Ledger, open_engine
from transom_server.listener import Listener
from transom_server.metrics import Metrics
from transom_server.offers import Offers
from transom_server.outcomes import Outcomes
from transom_server.scheduler import Scheduler
from transom_server.sessions import SPREAD_S, Pace, Sessions

log = logging.getLogger(__name__)

STREAM_GRACE_S = 1.0


class App:
    """One server."""

    def __init__(self, config: Config) -> None:
        self.config = config
        state = Path(config.state)
        self.metrics = Metrics()
        self.ledger = Ledger(open_engine(state / "ledger.db"))
        self.budget = Budget(config.memory_bytes)
        self.offers = Offers()
        self.sessions = Sessions()
        self.dispatch = Dispatch(
            Scheduler(), Outcomes(self.budget, self.ledger, self.metrics), accept_within_s=config.accept_within_s,
            is_idempotent=self.offers.is_idempotent,
        )  # fmt: skip
        self.followings = Followings(Keys(self.ledger), self.budget, self.dispatch.cancel, max_runs=config.max_runs)
        self.intake = Intake(
            limits=_limits(config), offers=self.offers, budget=self.budget, dispatch=self.dispatch, followings=self.followings,
            metrics=self.metrics,
        )  # fmt: skip
        verifier = TokenVerifier(load_key(state / "token.key").public_key(), config.trust_domain)
        self.listener = Listener(verifier=verifier, trust_domain=config.trust_domain, metrics=self.metrics)
        self.http = HttpPort(config.http_host, config.http_port, self.metrics)
        self.port = 0
        self._trimming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; the port is known afterwards."""
        config = self.config
        pace = Pace(
            heartbeat_every_s=config.heartbeat_every_s, dead_after_s=config.dead_after_s, kill_after_s=config.kill_after_s,
            resume_grace_s=config.resume_grace_s, max_session_age_s=config.max_session_age_s,
        )  # fmt: skip
        self.listener.serve(
            runs=RunService(
                intake=self.intake, dispatch=self.dispatch, ledger=self.ledger, max_runs_per_stream=config.max_runs_per_stream
            ),
            runners=RunnerService(
                dispatch=self.dispatch, sessions=self.sessions, offers=self.offers, budget=self.budget, ledger=self.ledger,
                metrics=self.metrics, pace=pace,
            ),
            fleet=FleetService(self.sessions, self.dispatch, self.ledger),
            actions=ActionService(self.offers),
        )  # fmt: skip
        self.port = self.listener.open(config.host, config.port, config.tls())
        self.ledger.start()
        await self.listener.start()
        self.http.start()
        self._trimming = asyncio.create_task(
            trim_when_idle(self.dispatch, getattr(ctypes.CDLL(None), "malloc_trim", None)), name="trimming"
        )
        log.info("server.ready", extra={"endpoint": f"{config.host}:{self.port}", "port": self.port})
        log.info("http.ready", extra={"port": self.http.port})

    async def drain(self) -> None:
        """Take nothing new, and let live runs end, for a bounded time."""
        self.intake.draining = True
        self.http.healthy = False
        await self.listener.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        self.dispatch.drain()
        log.info("server.draining", extra={"count": len(self.dispatch.runs)})
        try:
            async with asyncio.timeout(self.config.drain_s):
                await self.dispatch.idle.wait()
        except TimeoutError:
            log.warning("server.drain_timeout", extra={"count": len(self.dispatch.runs)})

    async def close(self) -> None:
        """Close everything, in reverse."""
        if self._trimming is not None:
            self._trimming.cancel()
        for session in list(self.sessions.by_runner.values()):
            session.goodbye(SPREAD_S)
            session.outbox.close()
        await self.listener.stop(STREAM_GRACE_S)
        await self.http.stop()
        await self.ledger.close()
        log.info("server.stopped")


def _limits(config: Config) -> Limits:
    return Limits(
        max_document_bytes=config.max_document_bytes,
        max_runs=config.max_runs,
        default_timeout_s=config.default_timeout_s,
        max_timeout_s=config.max_timeout_s,
        max_detach_grace_s=config.max_detach_grace_s,
        min_containment=config.min_containment,
    )
