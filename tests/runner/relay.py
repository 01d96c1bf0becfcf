"""A TCP relay between a runner and its server that a test can cut, close and make deaf."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.site import WITHIN_S


class Relay:
    """It passes bytes on until it is told otherwise; new connections start afresh."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._server: asyncio.Server | None = None
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._lost: set[str] = set()
        self.news = asyncio.Condition()
        self.connections = self.down_bytes = self.lost_bytes = 0

    async def open(self) -> None:
        """Take connections, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no new connections, and cut those that are there."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        self._lost.clear()
        for writer in self._writers:
            writer.transport.abort()

    def lose(self, direction: str) -> None:
        """Pass nothing more on in a direction, `up` to the server or `down` to the runner, until the cut."""
        self._lost.add(direction)

    async def until(self, field: str, count: int) -> None:
        """Wait until so much has happened."""
        async with asyncio.timeout(WITHIN_S), self.news:
            await self.news.wait_for(lambda: getattr(self, field) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await self._count("connections", 1)
            await asyncio.gather(self._pump("up", reader, far_writer), self._pump("down", far_reader, writer))
        finally:
            self._writers -= ends

    async def _pump(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if direction in self._lost:
                    await self._count("lost_bytes", len(data))
                    continue
                writer.write(data)
                await writer.drain()
                if direction == "down":
                    await self._count("down_bytes", len(data))
        writer.close()

    async def _count(self, field: str, more: int) -> None:
        async with self.news:
            setattr(self, field, getattr(self, field) + more)
            self.news.notify_all()


@asynccontextmanager
async def relaying(port: int) -> AsyncIterator[Relay]:
    relay = Relay(port)
    await relay.open()
    try:
        yield relay
    finally:
        await relay.close()
