"""Stand between two ends of TCP connections, and harm these: cut them, or carry nothing any more and keep them open."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

PIECE_BYTES = 256 * 1024


class _Link:
    """One connection through the relay."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._ends = (near, far)
        self.flows = asyncio.Event()
        self.flows.set()

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE_BYTES):
                await self.flows.wait()
                sink.write(data)
                await sink.drain()
            # Also the news that one end has closed stays on the way.
            await self.flows.wait()
        self.abort()

    def abort(self) -> None:
        for end in self._ends:
            end.transport.abort()


class Relay:
    """A port that leads to another."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._links: set[_Link] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.cut()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer), name="relay")
        self._carriers.add(task)
        task.add_done_callback(self._carriers.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            # Nobody listens there just now.
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            await asyncio.gather(link.pump(reader, far_writer), link.pump(far_reader, writer))
        finally:
            link.abort()
            self._links.discard(link)

    def cut(self) -> int:
        """Break every connection; returns how many there were."""
        for link in self._links:
            link.abort()
        return len(self._links)

    def stall(self) -> None:
        """Carry nothing more on the connections that there are, and close none; new ones work."""
        for link in self._links:
            link.flows.clear()

    def heal(self) -> None:
        """Break what was stalled, as any network does in the end."""
        for link in self._links:
            if not link.flows.is_set():
                link.abort()
                link.flows.set()
