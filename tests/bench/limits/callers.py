"""The callers of the limits: each sends a document through the relay and waits for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from bench.limits.envelope import Envelope, Item, packed
from bench.limits.road import ID_BYTES, write_batches, write_each


class ItemCaller:
    """R: one stream, a message for each document."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stream: Any = channel.stream_stream("/limit/CallerItems")()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count()

    async def read(self) -> None:
        async for item in self._stream:
            self._waiting.pop(item[:ID_BYTES]).set_result(item)

    async def write(self) -> None:
        await write_each(self._queue, self._stream.write)

    async def send(self, chunks: Sequence[bytes]) -> list[memoryview]:
        """Send a document; returns it as it came back."""
        number = next(self._numbers).to_bytes(ID_BYTES, "big")
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(b"".join((number, *chunks)))
        return [memoryview(await answer)[ID_BYTES:]]

    def cancel(self) -> None:
        self._stream.cancel()


class BatchCaller:
    """RB: one stream, and as many documents in a message as have queued up."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stream: Any = channel.stream_stream("/limit/CallerBatches", packed, Envelope.FromString)()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count()

    async def read(self) -> None:
        async for batch in self._stream:
            for item in batch.items:
                self._waiting.pop(item.id).set_result(item.data)

    async def write(self) -> None:
        await write_batches(self._queue, self._stream.write)

    async def send(self, chunks: Sequence[bytes]) -> list[bytes]:
        """Send a document; returns it as it came back."""
        number = next(self._numbers).to_bytes(ID_BYTES, "big")
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Item(id=number, data=b"".join(chunks)))
        return [await answer]

    def cancel(self) -> None:
        self._stream.cancel()


class UnaryCaller:
    """The bare unary relay: one call for each document."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call: Any = channel.unary_unary("/limit/CallerUnary")

    async def send(self, chunks: Sequence[bytes]) -> list[bytes]:
        """Send a document; returns it as it came back."""
        return [await self._call(b"".join(chunks))]


class ChunkCaller:
    """The chunked relay: one stream for each document."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._open: Any = channel.stream_stream("/limit/CallerChunks")

    async def send(self, chunks: Sequence[bytes]) -> list[bytes]:
        """Send a document; returns it as it came back."""
        stream: Any = self._open()
        writer = asyncio.create_task(self._write(stream, chunks))
        back = [chunk async for chunk in stream]
        await writer
        return back

    async def _write(self, stream: Any, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            await stream.write(chunk)
        await stream.done_writing()


@asynccontextmanager
async def streaming(caller: Any) -> AsyncIterator[Any]:
    """Keep a caller's stream, if it has one, read and written."""
    tasks = [asyncio.create_task(getattr(caller, task)()) for task in ("read", "write") if hasattr(caller, task)]
    try:
        yield caller
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            caller.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
