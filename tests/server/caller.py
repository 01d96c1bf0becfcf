"""A caller on one `Process` stream: it says what the test wants, and remembers every event by its tag."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_wire.errors import TransomError
from transom_wire.status import from_rpc_error, from_status

from server.site import WITHIN_S, Site

CHUNK = 262_144


def spec(*sizes: int, action: str = "test.echo", media_type: str = "text/plain", timeout_s: float = 0, **fields: Any) -> run_pb2.RunSpec:
    parameters = fields.pop("parameters", None)
    message = run_pb2.RunSpec(target=run_pb2.Target(action=action), **fields)
    for size in sizes:
        message.documents.add(media_type=media_type, size_bytes=size)
    if timeout_s:
        message.timeout.FromMilliseconds(int(timeout_s * 1000))
    if parameters is not None:
        message.parameters.CopyFrom(Struct())
        message.parameters.update(parameters)
    return message


def chunk(tag: int, offset: int, data: bytes, document: int = 0, pass_number: int = 0) -> run_service_pb2.ProcessItem:
    fields = {"document": document, "offset": offset, "data": data, "pass": pass_number}
    return run_service_pb2.ProcessItem(tag=tag, chunk=transfer_pb2.DocumentChunk(**fields))


class Caller:
    """One stream and what came back on it."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.events: dict[int, list[run_service_pb2.ProcessEvent]] = defaultdict(list)
        self.order: list[int] = []
        self.error: grpc.aio.AioRpcError | None = None
        self.closed = False
        self._news = asyncio.Condition()
        # Many writers on one stream hang it.
        self._writing = asyncio.Lock()

    async def read(self) -> None:
        """Remember every event until the stream ends."""
        try:
            while (response := await self.call.read()) is not grpc.aio.EOF:
                async with self._news:
                    for event in response.events:
                        self.events[event.tag].append(event)
                        self.order.append(event.tag)
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error
        finally:
            async with self._news:
                self.closed = True
                self._news.notify_all()

    async def say(self, *items: run_service_pb2.ProcessItem) -> None:
        async with self._writing:
            await self.call.write(run_service_pb2.ProcessRequest(items=items))

    async def start(self, tag: int, asked: run_pb2.RunSpec, inline: Sequence[bytes] = ()) -> None:
        start = run_service_pb2.StartRun(spec=asked, inline_documents=inline)
        await self.say(run_service_pb2.ProcessItem(tag=tag, start=start))

    async def start_inline(self, tag: int, *documents: bytes, **fields: Any) -> None:
        await self.start(tag, spec(*map(len, documents), **fields), documents)

    async def cancel(self, tag: int) -> None:
        await self.say(run_service_pb2.ProcessItem(tag=tag, cancel=run_service_pb2.CancelRun()))

    async def grant(self, tag: int, total_bytes: int) -> None:
        await self.say(run_service_pb2.ProcessItem(tag=tag, result_credit=transfer_pb2.ByteCredit(total_bytes=total_bytes)))

    async def half_close(self) -> None:
        await self.call.done_writing()

    def kinds(self, tag: int) -> list[str | None]:
        return [event.WhichOneof("event") for event in self.events[tag]]

    def of(self, tag: int, kind: str) -> list[Any]:
        return [getattr(event, kind) for event in self.events[tag] if event.HasField(kind)]

    async def wait(self, tag: int, kind: str, count: int = 1) -> Any:
        """Wait until `count` events of a kind have come; returns the last of these."""
        async with asyncio.timeout(WITHIN_S), self._news:
            await self._news.wait_for(lambda: len(self.of(tag, kind)) >= count or self.closed)
        return self.of(tag, kind)[count - 1]

    async def wait_bytes(self, tag: int, size: int) -> None:
        async with asyncio.timeout(WITHIN_S), self._news:
            await self._news.wait_for(lambda: len(self.result(tag)) >= size or self.closed)

    async def outcome(self, tag: int) -> run_pb2.Outcome:
        outcome: run_pb2.Outcome = await self.wait(tag, "outcome")
        return outcome

    async def failure(self, tag: int) -> TransomError:
        """Wait for an outcome that is not a success, and return its error."""
        outcome = await self.outcome(tag)
        assert outcome.state != run_pb2.RUN_STATE_SUCCEEDED
        return from_status(outcome.status)

    async def end(self) -> TransomError | None:
        """Wait for the end of the stream; returns the error that it ended with."""
        async with asyncio.timeout(WITHIN_S), self._news:
            await self._news.wait_for(lambda: self.closed)
        return from_rpc_error(self.error) if self.error is not None else None

    async def upload(self, tag: int, data: bytes, *, pass_number: int = 0, sent: int = 0) -> None:
        """Send the run's only document, or what follows after what was sent, within the credit."""
        while sent < len(data):
            async with asyncio.timeout(WITHIN_S), self._news:
                await self._news.wait_for(lambda at=sent: self._room(tag, pass_number) > at or self.closed)
            piece = data[sent : min(sent + CHUNK, self._room(tag, pass_number))]
            await self.say(chunk(tag, sent, piece, pass_number=pass_number))
            sent += len(piece)

    def _room(self, tag: int, pass_number: int) -> int:
        return max([one.total_bytes for one in self.of(tag, "upload_credit") if getattr(one, "pass") == pass_number], default=0)

    def result(self, tag: int) -> bytes:
        """What the last attempt sent."""
        chunks = self.of(tag, "result")
        last = max([one.attempt for one in chunks], default=0)
        return b"".join(one.data for one in chunks if one.attempt == last)


@asynccontextmanager
async def calling(site: Site, **claims: Any) -> AsyncIterator[Caller]:
    async with hearing(Caller(site.runs().Process(metadata=site.metadata(**claims)))) as caller:
        yield caller


@asynccontextmanager
async def hearing(caller: Caller) -> AsyncIterator[Caller]:
    """Let a caller remember what comes back on its stream, until it leaves."""
    reader = asyncio.create_task(caller.read())
    try:
        yield caller
    finally:
        caller.call.cancel()
        await asyncio.gather(reader, return_exceptions=True)
