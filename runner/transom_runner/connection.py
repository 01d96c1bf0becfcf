"""Dial the server, open one session after the other, and back off between them."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

import grpc
from transom.runners.v1 import runner_service_pb2_grpc
from transom_wire.channel import client_options
from transom_wire.errors import SessionCloned
from transom_wire.status import from_rpc_error
from transom_wire.trimming import trim_when_idle

from transom_runner import sandbox
from transom_runner.attempts import Attempts, Workshop
from transom_runner.config import Config
from transom_runner.credentials import credentials
from transom_runner.session import Session, SessionEnded
from transom_runner.transfer import BULK_IDLE_MS, Bulk

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0


class Connection:
    """One server, as long as the daemon lives: control on one HTTP/2 connection, bytes on another."""

    def __init__(self, config: Config, workshop: Workshop) -> None:
        self._config = config
        self._workshop = workshop
        self._attempts = Attempts(workshop)
        self._sessions: dict[Session, asyncio.Task[str]] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep a session open until `drain` was called and the last attempt has ended."""
        async with asyncio.TaskGroup() as tasks:
            self._attempts.begin(tasks)
            trimming = tasks.create_task(trim_when_idle(self._attempts, sandbox.TRIM), name="trimming")
            try:
                await self._hold(tasks)
                await asyncio.gather(*self._sessions.values())
            finally:
                trimming.cancel()
                self._attempts.drop()

    def drain(self) -> None:
        """Take nothing new, finish what is there, and end."""
        self._stopping.set()
        for session in self._sessions:
            session.drain()

    async def _hold(self, tasks: asyncio.TaskGroup) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            session, serving = self._begin(tasks)
            leaving = asyncio.create_task(session.leaving.wait(), name="session leaving")
            await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if not serving.done():
                # The next session opens while this one goes on, and ends it.
                await self._pause(max(FIRST_PAUSE_S, random.uniform(0.0, session.spread_s)))  # noqa: S311  # it spreads load, nothing more
                continue
            cloned = serving.result() == SessionCloned.reason
            pause = (LONGEST_PAUSE_S if cloned else FIRST_PAUSE_S) if session.welcomed else min(pause * 2, LONGEST_PAUSE_S)
            await self._pause(pause * random.uniform(0.5, 1.0))  # noqa: S311  # it spreads load, nothing more

    def _begin(self, tasks: asyncio.TaskGroup) -> tuple[Session, asyncio.Task[str]]:
        control, bulk = self._channel(bulk=False), Bulk(self._channel(bulk=True))
        session = Session(runner_service_pb2_grpc.RunnerServiceStub(control), bulk, self._workshop, self._attempts)
        serving = self._sessions[session] = tasks.create_task(self._serve(session, control, bulk), name="session")
        return session, serving

    async def _serve(self, session: Session, control: grpc.aio.Channel, bulk: Bulk) -> str:
        """Hold one session; returns why the server ended it, if it said so."""
        try:
            await session.run()
        except SessionEnded as ended:
            log.info("session.ended", extra={"reason": ended.reason})
        except grpc.aio.AioRpcError as error:
            reason = from_rpc_error(error).reason
            log.warning("session.refused", extra={"reason": reason, "endpoint": self._config.endpoint})
            return reason
        except Exception:
            log.exception("session.failed")
        finally:
            del self._sessions[session]
            await control.close()
            await bulk.retire()
        return ""

    def _channel(self, *, bulk: bool) -> grpc.aio.Channel:
        options = client_options(proxy=bool(self._config.proxy))
        if self._config.proxy:
            options.append(("grpc.http_proxy", self._config.proxy))
        if bulk:
            options.append(("grpc.client_idle_timeout_ms", BULK_IDLE_MS))
        return grpc.aio.secure_channel(self._config.endpoint, credentials(self._config), options=options)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
