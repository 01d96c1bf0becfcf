"""Answer /healthz and /metrics on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from transom_server.metrics import Metrics


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the app, which drains first.
        yield


class HttpPort:
    """A small HTTP server in the same loop."""

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        self.healthy = True
        self._socket = socket.create_server((host, port))
        self._metrics = metrics
        app = Starlette(routes=[Route("/healthz", self._healthz), Route("/metrics", self._export)])
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port's number."""
        number: int = self._socket.getsockname()[1]
        return number

    def start(self) -> None:
        """Serve."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")

    async def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()

    async def _healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok\n" if self.healthy else "draining\n", status_code=200 if self.healthy else 503)

    async def _export(self, _: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)
