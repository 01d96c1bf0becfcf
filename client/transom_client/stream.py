"""The one `Process` stream of a client: many runs by tag, one reader, one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Final

import grpc
from transom.runs.v1 import run_service_pb2, transfer_pb2
from transom_wire.errors import TransomError, Unavailable
from transom_wire.limits import INLINE_BYTES, MIB
from transom_wire.outbox import Outbox

from transom_client.documents import Measured
from transom_client.failures import error_of
from transom_client.line import Broken, Item, Line

Call = grpc.aio.StreamStreamCall[run_service_pb2.ProcessRequest, run_service_pb2.ProcessResponse]

CHUNKS_IN_HAND: Final = 8
"""Chunks that wait to be written, over all runs: what bounds the memory of uploads."""
CLOSE_WITHIN_S: Final = 1.0


class ProcessStream:
    """One stream to the server. When it breaks, every run on it hears of it, and another is opened for what comes next."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._lines: dict[int, Line] = {}
        self.last_tag = 0
        """The number of runs that were started on it."""
        self._outbox: Outbox[Item] = Outbox(max_items=65_536, max_bytes=128 * MIB)
        self._slots = asyncio.Semaphore(CHUNKS_IN_HAND)
        self._tasks: set[asyncio.Task[None]] = set()
        self._uploads: dict[int, asyncio.Task[None]] = {}
        self.connected = False
        self.failure: TransomError | None = None
        self._spawn(self._write(), "process writer")
        self._spawn(self._read(), "process reader")

    def open_line(self, start: run_service_pb2.StartRun, documents: Sequence[Measured], *, attempts_before: int = 0) -> Line:
        """Start a run, and send its documents as the server grants; inline documents are in `start` already."""
        self.last_tag += 1
        line = Line(self.last_tag, self._say, attempts_before=attempts_before)
        self._lines[line.tag] = line
        self._say(Item(tag=line.tag, start=start), start.ByteSize())
        if documents:
            self._uploads[line.tag] = self._spawn(self._upload(line, documents), f"upload {line.tag}")
        return line

    def attach_line(self, line: Line, documents: Sequence[Measured]) -> None:
        """Go on with a run whose connection broke; its documents are sent as far as the server lacks them."""
        self.last_tag += 1
        asked = line.attach(self.last_tag, self._say)
        self._lines[line.tag] = line
        self._say(asked, 0)
        if documents:
            self._uploads[line.tag] = self._spawn(self._upload(line, documents), f"upload {line.tag}")

    def cancel(self, line: Line) -> None:
        """Ask the server to end a run."""
        if not line.ended and self.failure is None:
            self._outbox.put(Item(tag=line.tag, cancel=run_service_pb2.CancelRun()))

    def forget(self, line: Line) -> None:
        """Stop listening to a run."""
        self._lines.pop(line.tag, None)
        upload = self._uploads.pop(line.tag, None)
        if upload is not None:
            upload.cancel()

    async def close(self) -> None:
        """Write what is queued, for a bounded time, and end the stream."""
        self._outbox.close()
        if self.failure is None:
            await asyncio.wait(self._tasks, timeout=CLOSE_WITHIN_S)
        self._call.cancel()
        self._end(Unavailable("the client was closed"))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Tasks.

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _say(self, item: Item, size_bytes: int) -> None:
        self._outbox.put(item, size_bytes)

    async def _write(self) -> None:
        try:
            # Until this returns nothing has left, and what waits may safely be sent elsewhere.
            await self._call.wait_for_connection()
            self.connected = True
            while items := await self._outbox.take():
                self._note_starts(items)
                await self._call.write(run_service_pb2.ProcessRequest(items=items))
                for item in items:
                    if item.HasField("chunk"):
                        self._slots.release()
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            # The stream has ended; its reader knows why.
            return

    def _note_starts(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.HasField("start") and (line := self._lines.get(item.tag)) is not None:
                line.written = True

    async def _read(self) -> None:
        failure: TransomError = Unavailable("the server ended the connection")
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._hear(response)  # type: ignore[arg-type]
            if await self._call.code() is not grpc.StatusCode.OK:
                failure = await failure_of(self._call)
        except grpc.aio.AioRpcError as error:
            failure = error_of(error)
        finally:
            self._end(failure)

    def _hear(self, response: run_service_pb2.ProcessResponse) -> None:
        for event in response.events:
            line = self._lines.get(event.tag)
            if line is not None:
                line.hear(event)
                if line.ended:
                    self.forget(line)

    def _end(self, failure: TransomError) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        self._outbox.close()
        for task in self._tasks:
            if task.get_name() != "process reader":
                task.cancel()
        for line in list(self._lines.values()):
            line.fail(Broken(failure) if isinstance(failure, Unavailable) else failure)
        self._lines.clear()

    # Documents.

    async def _upload(self, line: Line, documents: Sequence[Measured]) -> None:
        try:
            while True:
                number = line.pass_number
                await self._send_pass(line, documents, number)
                await line.next_pass(number)
        except TransomError as error:
            line.fail(error)

    async def _send_pass(self, line: Line, documents: Sequence[Measured], number: int) -> None:
        before = 0
        for position, document in enumerate(documents):
            offset = 0
            async with aclosing(document.chunks()) as chunks:
                async for data in chunks:
                    chunk = transfer_pb2.DocumentChunk(document=position, offset=offset, data=data, **{"pass": number})
                    if not await self._send_chunk(line, chunk, before + offset):
                        return
                    offset += len(data)
            before += offset

    async def _send_chunk(self, line: Line, chunk: transfer_pb2.DocumentChunk, sent: int) -> bool:
        """Send a chunk, in as many pieces as credit makes of it; False when its pass is void."""
        data, start, number = chunk.data, chunk.offset, getattr(chunk, "pass")
        at = 0
        while at < len(data):
            room = await line.upload_room(number, sent + at)
            if not room:
                return False
            await self._slots.acquire()
            if room < len(data) - at or at:
                chunk.offset, chunk.data = start + at, data[at : at + room]
            self._outbox.put(Item(tag=line.tag, chunk=chunk), len(chunk.data))
            at += len(chunk.data)
        return True


async def failure_of(call: grpc.aio.Call) -> TransomError:
    """Turn how a call ended into one of our errors."""
    code, details = await call.code(), await call.details()
    return error_of(grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), details))


def fits_inline(documents: Sequence[Measured]) -> bool:
    """Whether documents are small enough to ride with the start of their run."""
    return sum(document.size_bytes for document in documents) <= INLINE_BYTES
