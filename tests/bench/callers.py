"""The callers of Transom: each sends a document through the real server and waits for its result."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from transom.runs.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc, transfer_pb2
from transom_wire.encoding import Bytes, Peel, boxed, framed, tag, varint
from transom_wire.limits import INLINE_BYTES, MAX_CHUNK_BYTES, MIB, RESULT_WINDOW_BYTES
from transom_wire.outbox import Outbox

MEDIA_TYPE = "application/octet-stream"
MAX_QUEUED = 65_536
TIMEOUT_S = 60
GRANT_BYTES = 2 * MIB
"""Result bytes after which a caller grants more."""

PROCESS = "/transom.runs.v1.RunService/Process"
ITEMS = tag(run_service_pb2.ProcessRequest, "items")
TAG = tag(run_service_pb2.ProcessItem, "tag")
START = tag(run_service_pb2.ProcessItem, "start")
CHUNK = tag(run_service_pb2.ProcessItem, "chunk")
SPEC = tag(run_service_pb2.StartRun, "spec")
INLINE = tag(run_service_pb2.StartRun, "inline_documents")
CHUNK_OFFSET = tag(transfer_pb2.DocumentChunk, "offset")
CHUNK_DATA = tag(transfer_pb2.DocumentChunk, "data")

Chunks = Sequence[bytes]


class RunFailed(Exception):
    """A run of the benchmark did not succeed."""


@dataclass(slots=True)
class _Line:
    """One run on the stream."""

    chunks: Chunks
    ended: asyncio.Future[list[Bytes]]
    result: list[Bytes] = field(default_factory=list)
    received: int = 0
    granted: int = RESULT_WINDOW_BYTES


class ProcessCaller:
    """Many runs on one `Process` stream, in envelopes, as a client library does it."""

    def __init__(
        self, channel: grpc.aio.Channel, token: str, action: str, *, media_type: str = MEDIA_TYPE, timeout_s: int = TIMEOUT_S
    ) -> None:
        # Bytes are sent as they are: the envelope is put together here.
        method: Any = channel.stream_stream(PROCESS, None, Peel(run_service_pb2.ProcessResponse, ("events", "result", "data")))
        self._stream: Any = method(metadata=_metadata(token))
        self._outbox: Outbox[list[Bytes]] = Outbox(max_items=MAX_QUEUED, max_bytes=256 * MIB)
        self._lines: dict[int, _Line] = {}
        self._tags = itertools.count(1)
        self._specs: dict[int, bytes] = {}
        self._action = action
        self._media_type = media_type
        self._timeout_s = timeout_s

    async def write(self) -> None:
        while items := await self._outbox.take():
            await self._stream.write(b"".join([part for item in items for part in item]))

    async def read(self) -> None:
        async for response, data in self._stream:
            for event in response.events:
                self._heard(event, data)

    def _heard(self, event: run_service_pb2.ProcessEvent, data: memoryview | None) -> None:
        kind = event.WhichOneof("event")
        if kind == "result":
            self._received(event.tag, self._lines[event.tag], event.result.data if data is None else data)
        elif kind == "upload_credit":
            # Kept documents are granted whole, at once.
            self._upload(event.tag, self._lines[event.tag])
        elif kind == "outcome":
            line = self._lines.pop(event.tag)
            if event.outcome.state == run_pb2.RUN_STATE_SUCCEEDED:
                line.ended.set_result(line.result)
            else:
                line.ended.set_exception(_failure(event.outcome))

    def _received(self, tag: int, line: _Line, data: Bytes) -> None:
        line.result.append(data)
        line.received += len(data)
        if line.received + RESULT_WINDOW_BYTES - line.granted >= GRANT_BYTES:
            line.granted = line.received + RESULT_WINDOW_BYTES
            credit = transfer_pb2.ByteCredit(total_bytes=line.granted)
            item = run_service_pb2.ProcessItem(tag=tag, result_credit=credit).SerializeToString()
            self._outbox.put([boxed(ITEMS, item)], urgent=True)

    def _upload(self, tag: int, line: _Line) -> None:
        head, offset = TAG + varint(tag), 0
        whole = sum(map(len, line.chunks)) <= MAX_CHUNK_BYTES
        for parts in [line.chunks] if whole else [[data] for data in line.chunks]:
            size = sum(map(len, parts))
            chunk = framed(CHUNK, [CHUNK_OFFSET + varint(offset), *framed(CHUNK_DATA, parts)])
            self._outbox.put(framed(ITEMS, [head, *chunk]), size)
            offset += size

    def _spec(self, size: int) -> bytes:
        """Encode the spec of a document of this size, once."""
        spec = run_pb2.RunSpec()
        spec.target.action = self._action
        spec.timeout.seconds = self._timeout_s
        spec.documents.add(media_type=self._media_type, size_bytes=size)
        encoded = self._specs[size] = boxed(SPEC, spec.SerializeToString())
        return encoded

    async def send(self, chunks: Chunks) -> list[Bytes]:
        """Send a document; returns the pieces of its result."""
        tag = next(self._tags)
        size = sum(map(len, chunks))
        line = self._lines[tag] = _Line(chunks, asyncio.get_running_loop().create_future())
        start: list[Bytes] = [self._specs.get(size) or self._spec(size)]
        inline = size <= INLINE_BYTES
        if inline:
            for chunk in chunks:
                start += framed(INLINE, [chunk])
        self._outbox.put(framed(ITEMS, [TAG + varint(tag), *framed(START, start)]), size if inline else 0)
        return await line.ended

    def cancel(self) -> None:
        self._stream.cancel()


class InlineCaller:
    """One `ProcessInline` call for each document."""

    def __init__(self, channel: grpc.aio.Channel, token: str, action: str) -> None:
        self._stub: Any = run_service_pb2_grpc.RunServiceStub(channel)
        self._metadata = _metadata(token)
        self._action = action

    async def send(self, chunks: Chunks) -> list[bytes]:
        """Send a document; returns the parts of its result."""
        request = run_service_pb2.ProcessInlineRequest(
            target=run_pb2.Target(action=self._action),
            documents=[run_service_pb2.InlineDocument(media_type=MEDIA_TYPE, data=b"".join(chunks))],
        )
        answer = await self._stub.ProcessInline(request, metadata=self._metadata, timeout=TIMEOUT_S)
        if answer.outcome.state != run_pb2.RUN_STATE_SUCCEEDED:
            raise _failure(answer.outcome)
        return [part.data for part in answer.parts]


def _failure(outcome: run_pb2.Outcome) -> RunFailed:
    return RunFailed(f"{run_pb2.RunState.Name(outcome.state)}, code {outcome.status.code}, {outcome.status.message}")


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
