"""Move bytes: documents from the server to a process, results back, on a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import transfer_pb2
from transom_wire.encoding import Bytes, Peel, framed, tag
from transom_wire.limits import CHUNK_BYTES

SERVICE: Final = "/transom.runners.v1.RunnerService"
CHUNKS: Final = tag(wire.PushResultRequest, "chunks")
DATA: Final = tag(transfer_pb2.ResultChunk, "data")


class Bulk:
    """The connection of bytes: its methods read and write chunks without copies. Attempts may use it beyond its session."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._retired = False
        self._users = 0
        request = wire.FetchDocumentRequest.SerializeToString
        self.fetch: Any = channel.unary_stream(f"{SERVICE}/FetchDocument", request, Peel(wire.FetchDocumentResponse, ("chunks", "data")))
        self.push: Any = channel.stream_stream(f"{SERVICE}/PushResult", None, wire.PushResultResponse.FromString)

    def hold(self) -> None:
        """Use the connection until `let_go`."""
        self._users += 1

    async def let_go(self) -> None:
        """Use it no more."""
        self._users -= 1
        if self._retired and not self._users:
            await self._channel.close()

    async def retire(self) -> None:
        """Close it as soon as nobody uses it."""
        self._retired = True
        if not self._users:
            await self._channel.close()


class OutputTooLarge(Exception):
    """The result is larger than allowed."""


class TransferBroken(Exception):
    """The server no longer takes or gives this attempt's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a result."""

    document: int
    page: int
    media_type: str
    data: bytes

    def __repr__(self) -> str:
        return f"Part({self.media_type}, {len(self.data)} bytes)"


async def fetched(bulk: Bulk, fence: session_pb2.Fence, document: int, timeout_s: float) -> AsyncIterator[Bytes]:
    """Yield a document's bytes in order, as the server sends them.

    Raises:
        TransferBroken: The server ended the stream with an error.
    """
    call = bulk.fetch(wire.FetchDocumentRequest(fence=fence, document=document), timeout=timeout_s)
    try:
        async for response, data in call:
            for chunk in response.chunks:
                yield chunk.data if data is None else data
    except grpc.aio.AioRpcError:
        raise TransferBroken from None
    finally:
        call.cancel()


class ResultSender:
    """Send one attempt's result: as much on the session as the assignment allows, the rest against credit on a stream of their own."""

    def __init__(
        self, *, bulk: Bulk, fence: session_pb2.Fence, inline: Callable[[list[transfer_pb2.ResultChunk], int], None],
        inline_bytes: int, max_bytes: int, timeout_s: float,
    ) -> None:  # fmt: skip
        self._bulk = bulk
        self._fence = fence
        self._inline = inline
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._push: _Push | None = None
        self._room = inline_bytes
        self._total = 0
        self.parts = 0

    async def send(self, part: Part) -> None:
        """Send a part, as fast as the caller takes it.

        Raises:
            OutputTooLarge: The attempt's result is larger than allowed.
            TransferBroken: The server does not take it.
        """
        number, self.parts = self.parts, self.parts + 1
        self._total += len(part.data)
        if self._total > self._max_bytes:
            raise OutputTooLarge
        if self._push is None and len(part.data) <= self._room:
            self._room -= len(part.data)
            self._inline([_chunk(part, number, 0, len(part.data), data=part.data)], len(part.data))
            return
        if self._push is None:
            self._push = _Push(self._bulk, self._fence, self._timeout_s)
        # An empty part is one empty chunk.
        view = memoryview(part.data)
        for offset in range(0, max(1, len(view)), CHUNK_BYTES):
            data = view[offset : offset + CHUNK_BYTES]
            await self._push.send(_chunk(part, number, offset, len(data)), data)

    async def close(self) -> None:
        """Wait until the server has everything.

        Raises:
            TransferBroken: It has not.
        """
        if self._push is not None:
            await self._push.close()

    def abandon(self) -> None:
        """Send nothing more."""
        if self._push is not None:
            self._push.cancel()


class _Push:
    """One `PushResult` stream."""

    def __init__(self, bulk: Bulk, fence: session_pb2.Fence, timeout_s: float) -> None:
        self._call: Any = bulk.push(timeout=timeout_s)
        self._fence: session_pb2.Fence | None = fence
        self._sent = 0
        self._granted = 0

    async def send(self, chunk: transfer_pb2.ResultChunk, data: memoryview) -> None:
        """Send a chunk once there is credit for it."""
        try:
            if self._fence is not None:
                await self._call.write(wire.PushResultRequest(fence=self._fence).SerializeToString())
                self._fence = None
            self._sent += len(data)
            while self._sent > self._granted:
                response = await self._call.read()
                if response is grpc.aio.EOF:
                    raise TransferBroken
                self._granted = max(self._granted, response.credits[-1].total_bytes)
            await self._call.write(b"".join(framed(CHUNKS, [chunk.SerializeToString(), *framed(DATA, [data])])))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            raise TransferBroken from None

    async def close(self) -> None:
        """Half-close, and wait for the server's OK."""
        try:
            await self._call.done_writing()
            while await self._call.read() is not grpc.aio.EOF:
                pass
            code = await self._call.code()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            raise TransferBroken from None
        if code is not grpc.StatusCode.OK:
            raise TransferBroken

    def cancel(self) -> None:
        """End the stream."""
        self._call.cancel()


def _chunk(part: Part, number: int, offset: int, size: int, *, data: bytes = b"") -> transfer_pb2.ResultChunk:
    return transfer_pb2.ResultChunk(
        part=number, offset=offset, data=data, last=offset + size == len(part.data), document=part.document, page=part.page,
        media_type=part.media_type,
    )  # fmt: skip


BULK_IDLE_MS: Final = 30_000
