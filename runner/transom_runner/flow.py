"""Give a flow what it needs: documents, workers to call, and a way out for what they read. Lives in the executor."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from transom_runner import frames
from transom_runner.frames import Begin, Bytes, Channel, Chunk, End, Finished, Frame, FrameBroken, Given, Gone, Head, PageRead, Report, Want

FORK_WITHIN_S = 10.0
PIECE_BYTES = 1024 * 1024


class CallFailed(Exception):
    """A worker's call failed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Workers:
    """Ask the daemon for workers, and hear from it why one ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._ids = itertools.count(1)
        self._wanted: dict[int, asyncio.Future[tuple[socket.socket, bool]]] = {}
        self._gone: dict[int, asyncio.Future[str]] = {}
        control.setblocking(False)
        asyncio.get_running_loop().add_reader(control, self._on_packet)

    async def want(self, action: str) -> tuple[int, socket.socket, bool]:
        """Return a new worker's id, its socket, and whether it may read several pages.

        Raises:
            CallFailed: None can be had.
        """
        number = next(self._ids)
        loop = asyncio.get_running_loop()
        wanted = self._wanted[number] = loop.create_future()
        self._gone[number] = loop.create_future()
        try:
            frames.send_packet(self._control, Want(id=number, action=action))
            async with asyncio.timeout(FORK_WITHIN_S):
                return number, *(await wanted)
        except (FrameBroken, TimeoutError):
            raise CallFailed("CRASHED") from None
        finally:
            del self._wanted[number]

    async def why(self, number: int) -> str:
        """Return why a worker ended."""
        try:
            async with asyncio.timeout(FORK_WITHIN_S):
                return await self._gone[number] or "CRASHED"
        except TimeoutError:
            return "CRASHED"

    def forget(self, number: int) -> None:
        """Let go of a worker that has answered."""
        self._gone.pop(number, None)

    def _on_packet(self) -> None:
        try:
            packet, descriptors = frames.receive_packet(self._control)
        except BlockingIOError:
            return
        except FrameBroken:
            # The daemon is gone, and this process with it.
            os._exit(1)
        if isinstance(packet, Given) and descriptors:
            sock = socket.socket(fileno=descriptors[0])
            wanted = self._wanted.get(packet.id)
            if wanted is None or wanted.done():
                sock.close()
            else:
                wanted.set_result((sock, packet.shares_pages))
        elif isinstance(packet, Gone):
            self._settle(packet)

    def _settle(self, gone: Gone) -> None:
        wanted = self._wanted.get(gone.id)
        if wanted is not None and not wanted.done():
            wanted.set_exception(CallFailed(gone.reason or "CRASHED"))
        future = self._gone.get(gone.id)
        if future is not None and not future.done():
            future.set_result(gone.reason)


class Call:
    """One call of an action in a worker of its own. Use it as a context manager: the worker ends with it."""

    def __init__(self, workers: Workers, number: int, channel: Channel, *, shares_pages: bool) -> None:
        self._workers = workers
        self._number = number
        self._channel = channel
        self.shares_pages = shares_pages

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the worker go: it ends when its socket does."""
        self._channel.close()
        self._workers.forget(self._number)

    async def send(self, frame: Frame, attachment: Bytes = b"") -> None:
        """Give the worker something.

        Raises:
            CallFailed: It is gone.
        """
        try:
            await self._channel.send(frame, attachment)
        except FrameBroken:
            raise CallFailed(await self._workers.why(self._number)) from None

    async def send_document(self, head: Head, data: memoryview) -> None:
        """Give the worker a whole document, and say that nothing more comes.

        Raises:
            CallFailed: The worker is gone.
        """
        for start in range(0, len(data), PIECE_BYTES):
            await self.send(Chunk(document=head.index), data[start : start + PIECE_BYTES])
        await self.send(End())

    async def receive(self) -> tuple[Frame, bytes] | None:
        """Return the worker's next output, or None at the end of its call.

        Raises:
            CallFailed: The call failed.
        """
        while True:
            try:
                frame, attachment = await self._channel.receive()
            except FrameBroken:
                raise CallFailed(await self._workers.why(self._number)) from None
            if isinstance(frame, Finished):
                if frame.reason:
                    raise CallFailed(frame.reason)
                return None
            if not isinstance(frame, Report):
                return frame, attachment


class Flow:
    """One attempt at a flow: its documents and parameters, workers, and the way out."""

    def __init__(self, begin: Begin, documents: Sequence[tuple[Head, memoryview]], workers: Workers, out: Channel) -> None:
        self.documents = documents
        self.parameters = begin.parameters
        self.lanes = len(os.sched_getaffinity(0))
        """How many workers can work at once."""
        self._begin = begin
        self._workers = workers
        self._out = out
        self._deadline = asyncio.get_running_loop().time() + begin.time_left_s
        self._pages = 0

    def chosen(self, *names: str) -> dict[str, Any]:
        """Return those of the parameters that were given."""
        return {name: self.parameters[name] for name in names if name in self.parameters}

    async def call(self, action: str, parameters: Mapping[str, Any], documents: Sequence[Head] = ()) -> Call:
        """Open a call of an action.

        Raises:
            CallFailed: No worker can be had.
        """
        number, sock, shares_pages = await self._workers.want(action)
        call = Call(self._workers, number, await Channel.over(sock), shares_pages=shares_pages)
        left = self._deadline - asyncio.get_running_loop().time()
        await call.send(
            Begin(
                action=action, parameters=dict(parameters), time_left_s=left, documents=list(documents),
                max_pages=self._begin.max_pages, max_pixels=self._begin.max_pixels, max_bytes=self._begin.max_bytes,
            )
        )  # fmt: skip
        return call

    async def emit(self, frame: Frame, attachment: Bytes = b"") -> None:
        """Send a result on, as fast as it is taken."""
        await self._out.send(frame, attachment)
        if isinstance(frame, PageRead):
            self._pages += 1
            await self._out.send(Report(done=self._pages, total=frame.pages if len(self.documents) == 1 else 0))
