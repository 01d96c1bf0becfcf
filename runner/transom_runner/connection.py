"""Dial the server, open one session after the other, and back off between them."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

import grpc
from transom.runners.v1 import runner_service_pb2_grpc
from transom_wire.channel import client_options
from transom_wire.errors import TransomError
from transom_wire.status import from_rpc_error

from transom_runner.config import Config
from transom_runner.credentials import credentials
from transom_runner.session import Session, SessionEnded, Workshop
from transom_runner.transfer import BULK_IDLE_MS, Bulk

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0


class Connection:
    """One server, as long as the daemon lives: control on one HTTP/2 connection, bytes on another."""

    def __init__(self, config: Config, workshop: Workshop) -> None:
        self._config = config
        self._workshop = workshop
        self._session: Session | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep a session open until `drain` was called and the last attempt has ended."""
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            welcomed = False
            try:
                welcomed = await self._serve()
            except TransomError as error:
                log.warning("session.refused", extra={"reason": error.reason, "endpoint": self._config.endpoint})
            except Exception:
                log.exception("session.failed")
            pause = FIRST_PAUSE_S if welcomed else min(pause * 2, LONGEST_PAUSE_S)
            await self._pause(pause * random.uniform(0.5, 1.0))  # noqa: S311  # it spreads load, nothing more

    def drain(self) -> None:
        """Take nothing new, finish what is there, and end."""
        self._stopping.set()
        if self._session is not None:
            self._session.drain()

    async def _serve(self) -> bool:
        """Hold one session; returns whether the server welcomed it."""
        async with self._channel(bulk=False) as control, self._channel(bulk=True) as bulk:
            session = self._session = Session(runner_service_pb2_grpc.RunnerServiceStub(control), Bulk(bulk), self._workshop)
            if self._stopping.is_set():
                return False
            try:
                await session.run()
            except SessionEnded as ended:
                log.info("session.ended", extra={"reason": ended.reason})
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from None
            finally:
                self._session = None
            return session.welcomed

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
