"""A server, its trust domain, channels to it, and a runner that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.struct_pb2 import Struct
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import runner_service_pb2_grpc, session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc, transfer_pb2
from transom_server.app import App
from transom_server.config import Config
from transom_server.identity.authority import initialise
from transom_server.identity.caller import thumbprint
from transom_server.identity.tokens import TokenIssuer, load_key
from transom_wire.channel import client_options
from transom_wire.credentials import TlsFiles, channel_credentials

WITHIN_S = 10.0
ECHO = action_pb2.Action(
    name="test.echo", plugin="test", version="1", summary="Echo documents.", idempotent=True, persistence=action_pb2.PERSISTENCE_NONE,
    parameters_schema='{"type": "object", "properties": {"times": {"type": "integer", "minimum": 1}}, "additionalProperties": false}',
)  # fmt: skip


class World:
    """One server on loopback, over real mutual TLS."""

    def __init__(self, state: Path, **settings: Any) -> None:
        self.state = state
        if not (state / "ca.pem").exists():
            initialise(state, "transom.internal")
        self.config = Config(state=str(state), port=0, drain_s=2.0, **settings)
        self.app = App(self.config)
        self._channels: list[grpc.aio.Channel] = []

    async def __aenter__(self) -> Self:
        await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels:
            await channel.close()
        await self.app.drain()
        await self.app.close()

    def tls(self, who: str) -> TlsFiles:
        return TlsFiles(ca=self.state / "ca.pem", certificate=self.state / f"{who}.pem", key=self.state / f"{who}.key")

    def channel(self, who: str = "client", tls: TlsFiles | None = None) -> grpc.aio.Channel:
        channel = grpc.aio.secure_channel(f"localhost:{self.app.port}", channel_credentials(tls or self.tls(who)), options=client_options())
        self._channels.append(channel)
        return channel

    def token(self, *roles: str, subject: str = "tester", **claims: Any) -> str:
        issuer = TokenIssuer(load_key(self.state / "token.key"), "transom.internal")
        claims.setdefault("thumbprint", thumbprint((self.state / "client.pem").read_bytes()))
        return issuer.issue(subject, roles or ("caller", "operator", "viewer"), **claims)

    def metadata(self, **claims: Any) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token(**claims)}"),)

    def runs(self) -> run_service_pb2_grpc.RunServiceAsyncStub:
        return run_service_pb2_grpc.RunServiceStub(self.channel())

    async def inline(self, *documents: bytes, action: str = "test.echo", media_type: str = "text/plain", **more: Any) -> Any:
        request = run_service_pb2.ProcessInlineRequest(
            target=run_pb2.Target(action=action),
            documents=[run_service_pb2.InlineDocument(media_type=media_type, data=data) for data in documents],
        )
        if "parameters" in more:
            request.parameters.CopyFrom(Struct())
            request.parameters.update(more["parameters"])
        if "settings" in more:
            request.settings.CopyFrom(more["settings"])
        return await self.runs().ProcessInline(request, metadata=self.metadata(), timeout=WITHIN_S)

    @asynccontextmanager
    async def runner(self, behave: Behaviour | None = None, **hello: Any) -> AsyncIterator[FakeRunner]:
        runner = FakeRunner(self, behave or echo, **hello)
        task = asyncio.create_task(runner.serve())
        try:
            async with asyncio.timeout(WITHIN_S):
                await runner.ready.wait()
            yield runner
        finally:
            await runner.leave()
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(task, return_exceptions=True)


class FakeRunner:
    """A runner without processes: it speaks the real protocol and lets a function answer each assignment."""

    def __init__(self, world: World, behave: Behaviour, *, attempts: int = 100, containment: int = 2, **hello: Any) -> None:
        self.channel = world.channel("runner")
        self.stub = runner_service_pb2_grpc.RunnerServiceStub(self.channel)
        self.behave = behave
        self.attempts = attempts
        self.hello = session_pb2.Hello(
            protocol=1, boot_id=b"b", software="test", hostname="testhost", pool="default", actions=[ECHO], containment=containment, **hello
        )
        self.ready = asyncio.Event()
        self.assigned: asyncio.Queue[session_pb2.Assign] = asyncio.Queue()
        self.heard: asyncio.Queue[wire.ServerItem] = asyncio.Queue()
        self._done = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.call: Any = None

    async def serve(self) -> None:
        self.call = self.stub.Session()
        credit = session_pb2.Credit(pool="default", total_attempts=self.attempts, total_bytes=1 << 28)
        await self.say(wire.RunnerItem(hello=self.hello), wire.RunnerItem(credit=credit))
        async for response in self.call:
            for item in response.items:
                self.heard.put_nowait(item)
                if item.HasField("welcome"):
                    self.ready.set()
                elif item.HasField("assign"):
                    self.assigned.put_nowait(item.assign)
                    task = asyncio.create_task(self._answer(item.assign))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _answer(self, assign: session_pb2.Assign) -> None:
        await self.behave(self, assign)
        self._done += 1
        total = self.attempts + self._done
        await self.say(wire.RunnerItem(credit=session_pb2.Credit(pool="default", total_attempts=total, total_bytes=(1 << 28) + self._done)))

    async def say(self, *items: wire.RunnerItem) -> None:
        await self.call.write(wire.SessionRequest(items=items))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self.call is not None:
            self.call.cancel()
        await self.channel.close()

    async def accept(self, assign: session_pb2.Assign) -> None:
        await self.say(wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=True)))

    async def done(self, assign: session_pb2.Assign, parts: int = 0, **fields: Any) -> None:
        fields.setdefault("state", run_pb2.RUN_STATE_SUCCEEDED)
        evidence = run_pb2.Evidence(containment=run_pb2.CONTAINMENT_LEVEL_LIMITS, processes=1)
        done = session_pb2.AttemptDone(fence=assign.fence, side_effects=run_pb2.SIDE_EFFECTS_NONE, parts=parts, evidence=evidence, **fields)
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
        chunks = [piece(number, data, number) for number, data in enumerate(assign.inline_documents)]
        await runner.say(wire.RunnerItem(result=session_pb2.AttemptResult(fence=assign.fence, chunks=chunks)))
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
