"""A server, its trust domain, channels to it, and a runner that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import runner_service_pb2_grpc, session_pb2
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_server.app import App
from transom_server.config import Config

from server.site import WITHIN_S, Site

ECHO = action_pb2.Action(
    name="test.echo", plugin="test", version="1", summary="Echo documents.", idempotent=True, persistence=action_pb2.PERSISTENCE_NONE,
    parameters_schema='{"type": "object", "properties": {"times": {"type": "integer", "minimum": 1}}, "additionalProperties": false}',
)  # fmt: skip


@asynccontextmanager
async def runner_of(site: Site, behave: Behaviour | None = None, **hello: Any) -> AsyncIterator[FakeRunner]:
    runner = FakeRunner(site, behave or echo, **hello)
    task = asyncio.create_task(runner.serve())
    try:
        async with asyncio.timeout(WITHIN_S):
            await runner.ready.wait()
        yield runner
    finally:
        await runner.leave()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(task, return_exceptions=True)


class World(Site):
    """One server on loopback, in the test's own loop, over real mutual TLS."""

    def __init__(self, state: Path, **settings: Any) -> None:
        super().__init__(state)
        self.config = Config(state=str(state), **{"port": 0, "drain_s": 2.0, "resume_grace_s": 0.0, **settings})
        self.app = App(self.config)

    @property
    def port(self) -> int:
        return self.app.port

    async def __aenter__(self) -> Self:
        await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_channels()
        await self.app.drain()
        await self.app.close()

    @asynccontextmanager
    async def runner(self, behave: Behaviour | None = None, **hello: Any) -> AsyncIterator[FakeRunner]:
        async with runner_of(self, behave, **hello) as runner:
            yield runner


class FakeRunner:
    """A runner without processes: it speaks the real protocol and lets a function answer each assignment."""

    def __init__(
        self, site: Site, behave: Behaviour, *, who: str = "runner", attempts: int = 100, containment: int = 2, room: int = 1 << 28,
        actions: tuple[action_pb2.Action, ...] = (ECHO,), **hello: Any,
    ) -> None:  # fmt: skip
        self.channel = site.channel(who)
        self.stub = runner_service_pb2_grpc.RunnerServiceStub(self.channel)
        self.behave = behave
        self.attempts = attempts
        self.room = room
        hello = {"protocol": 1, "boot_id": b"b", "software": "test", "hostname": "testhost", "pool": "default", **hello}
        self.hello = session_pb2.Hello(actions=actions, containment=containment, **hello)
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.assigned: asyncio.Queue[session_pb2.Assign] = asyncio.Queue()
        self.heard: asyncio.Queue[wire.ServerItem] = asyncio.Queue()
        self.said = self.ack = 0
        self.acknowledged: asyncio.Queue[int] = asyncio.Queue()
        self._done = 0
        # Many writers on one stream hang it.
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.call: Any = None

    async def serve(self) -> None:
        self.call = self.stub.Session()
        credit = session_pb2.Credit(pool="default", total_attempts=self.attempts, total_bytes=self.room)
        try:
            await self.say(wire.RunnerItem(hello=self.hello), wire.RunnerItem(credit=credit))
            # Iterating may not be mixed with write().
            while (response := await self.call.read()) is not grpc.aio.EOF:
                for item in response.items:
                    self._hear(item)
                self.acknowledged.put_nowait(response.ack)
        finally:
            self.ended.set()

    def _hear(self, item: wire.ServerItem) -> None:
        self.heard.put_nowait(item)
        if item.HasField("welcome"):
            self.ready.set()
        elif item.HasField("assign"):
            self.assigned.put_nowait(item.assign)
            task = asyncio.create_task(self._answer(item.assign))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def hear(self, kind: str) -> Any:
        """Wait for the next item of a kind; others before it are skipped."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                item = await self.heard.get()
                if item.HasField(kind):
                    return getattr(item, kind)

    async def hear_ack(self, count: int) -> None:
        """Wait until so many of our items are acknowledged."""
        async with asyncio.timeout(WITHIN_S):
            while await self.acknowledged.get() < count:
                pass

    async def assignment(self) -> session_pb2.Assign:
        async with asyncio.timeout(WITHIN_S):
            return await self.assigned.get()

    async def _answer(self, assign: session_pb2.Assign) -> None:
        # The server may end any of these calls under our hands; what that means is the test's to judge.
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self.behave(self, assign)
            self._done += 1
            total, room = self.attempts + self._done, self.room + self._done
            await self.say(wire.RunnerItem(credit=session_pb2.Credit(pool="default", total_attempts=total, total_bytes=room)))

    async def grant(self, more: int) -> None:
        """Take so many attempts more than at first."""
        credit = session_pb2.Credit(pool="default", total_attempts=self.attempts + more, total_bytes=self.room)
        await self.say(wire.RunnerItem(credit=credit))

    async def say(self, *items: wire.RunnerItem) -> None:
        async with self._writing:
            first, self.said = self.said + 1, self.said + len(items)
            await self.call.write(wire.SessionRequest(sequence=first, ack=self.ack, items=items))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self.call is not None:
            self.call.cancel()
        await self.channel.close()

    async def accept(self, assign: session_pb2.Assign) -> None:
        await self.say(wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=True)))

    async def refuse(self, assign: session_pb2.Assign) -> None:
        await self.say(wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=False)))

    async def send(self, assign: session_pb2.Assign, *chunks: transfer_pb2.ResultChunk) -> None:
        await self.say(wire.RunnerItem(result=session_pb2.AttemptResult(fence=assign.fence, chunks=chunks)))

    async def done(self, assign: session_pb2.Assign, parts: int = 0, **fields: Any) -> None:
        fields.setdefault("state", run_pb2.RUN_STATE_SUCCEEDED)
        fields.setdefault("side_effects", run_pb2.SIDE_EFFECTS_NONE)
        evidence = run_pb2.Evidence(containment=run_pb2.CONTAINMENT_LEVEL_LIMITS, processes=1)
        done = session_pb2.AttemptDone(fence=assign.fence, parts=parts, evidence=evidence, **fields)
        await self.say(wire.RunnerItem(done=done))

    async def fetch(self, assign: session_pb2.Assign, document: int) -> bytes:
        call = self.stub.FetchDocument(wire.FetchDocumentRequest(fence=assign.fence, document=document))
        return b"".join([chunk.data async for response in call for chunk in response.chunks])

    async def push(self, assign: session_pb2.Assign, parts: list[bytes]) -> None:
        """Push parts as whole chunks, heeding credit."""
        call = self.stub.PushResult()
        await call.write(wire.PushResultRequest(fence=assign.fence))
        room = sent = 0
        for number, data in enumerate(parts):
            while sent + len(data) > room:
                response = await call.read()
                assert response is not grpc.aio.EOF
                room = response.credits[-1].total_bytes
            sent += len(data)
            await call.write(wire.PushResultRequest(chunks=[piece(number, data)]))
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass


Behaviour = Callable[[FakeRunner, session_pb2.Assign], Awaitable[None]]


def piece(part: int, data: bytes, document: int = 0) -> transfer_pb2.ResultChunk:
    return transfer_pb2.ResultChunk(part=part, data=data, last=True, document=document, media_type="application/octet-stream")


async def echo(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Accept, send every document back, and succeed."""
    await runner.accept(assign)
    if assign.inline_documents:
        await runner.send(assign, *[piece(number, data, number) for number, data in enumerate(assign.inline_documents)])
    else:
        documents = [await runner.fetch(assign, number) for number in range(len(assign.documents))]
        chunks_of = [data[at : at + 262_144] for data in documents for at in range(0, len(data), 262_144)]
        await runner.push(assign, chunks_of)
    await runner.done(assign, parts=len(assign.documents))


async def silent(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Never answer."""


async def hang(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Accept, and never end."""
    await runner.accept(assign)


async def refuse(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Refuse every attempt."""
    await runner.refuse(assign)
