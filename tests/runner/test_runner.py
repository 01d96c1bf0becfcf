"""The daemon: what it offers, how it connects, and that nothing survives it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from server.caller import calling, spec
from server.site import WITHIN_S
from server.world import World
from transom.plugins.v1 import action_service_pb2, action_service_pb2_grpc
from transom.runs.v1 import run_pb2
from transom_runner.app import App
from transom_wire.status import from_rpc_error, reason_of

from runner.workshop import NAUGHTY, PLUGINS, running


async def offered(world: World) -> list[str]:
    await world.inline(b"x", action="naughty.echo")
    stub = action_service_pb2_grpc.ActionServiceStub(world.channel())
    answer = await stub.ListActions(action_service_pb2.ListActionsRequest(), metadata=world.metadata(), timeout=WITHIN_S)
    return [action.name for action in answer.actions]


def processes_of(app: App) -> list[int]:
    return [template.pid for template in (app._executors, *app._templates.values())]


async def test_plugins_that_break_the_rules_at_import_are_not_offered(world: World) -> None:
    paths = [NAUGHTY, str(PLUGINS / "threaded"), str(PLUGINS / "misspelt"), str(PLUGINS / "missing")]
    async with running(world, plugins=None, plugin_paths=paths):
        names = await offered(world)
    assert "naughty.echo" in names
    assert "ocr.auto" in names
    assert not [name for name in names if name.startswith(("threaded", "misspelt", "missing"))]


async def test_a_document_above_the_inline_limit_goes_to_a_worker_and_back(site: World) -> None:
    document = os.urandom(2_500_000)
    answer = await site.inline(document, action="naughty.echo")
    assert answer.parts[0].data == document


async def test_a_digest_that_does_not_match_is_refused_by_the_worker(site: World) -> None:
    asked = spec(8, action="naughty.echo")
    asked.documents[0].sha256 = bytes(32)
    async with calling(site) as caller:
        await caller.start(1, asked, [b"document"])
        error = await caller.failure(1)
    assert error.reason == "DIGEST_MISMATCH"


async def test_a_cancel_ends_the_worker_within_a_second(world: World) -> None:
    async with running(world) as app, calling(world) as caller:
        await caller.start_inline(1, b"x", action="naughty.hang")
        await caller.wait(1, "attempt")
        [process] = app._templates["naughty"]._processes.values()
        await caller.cancel(1)
        outcome = await caller.outcome(1)
        async with asyncio.timeout(1):
            await process.exited.wait()
    assert outcome.state == run_pb2.RUN_STATE_CANCELLED


async def test_a_caller_that_leaves_takes_its_worker_along(world: World) -> None:
    async with running(world) as app:
        async with calling(world) as caller:
            await caller.start_inline(1, b"x", action="naughty.hang")
            await caller.wait(1, "attempt")
            [process] = app._templates["naughty"]._processes.values()
        async with asyncio.timeout(WITHIN_S):
            await process.exited.wait()


async def test_a_template_that_is_killed_comes_back(world: World) -> None:
    async with running(world) as app:
        await world.inline(b"x", action="naughty.echo")
        victim = app._templates["naughty"]
        before = victim.pid
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            while reason_of((answer := await world.inline(b"x", action="naughty.echo")).outcome.status):
                assert reason_of(answer.outcome.status) in {"CRASHED", "KILLED"}
        assert victim.pid != before


async def test_a_call_waits_for_a_template_that_is_being_started_anew(world: World) -> None:
    async with running(world) as app:
        await world.inline(b"x", action="naughty.echo")
        victim = app._templates["naughty"]
        os.kill(victim.pid, signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            await victim._lost.wait()
            answers = await asyncio.gather(*(world.inline(b"x", action="naughty.echo") for _ in range(8)))
        assert [reason_of(answer.outcome.status) for answer in answers] == [""] * 8


async def test_a_call_that_waits_for_a_template_can_be_cancelled(world: World) -> None:
    async with running(world) as app, calling(world) as caller:
        await world.inline(b"x", action="naughty.echo")
        victim = app._templates["naughty"]
        os.kill(victim.pid, signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            await victim._lost.wait()
        await caller.start_inline(1, b"x", action="naughty.hang")
        await caller.wait(1, "attempt")
        [process] = victim._processes.values()
        assert process.withdraw is not None
        await caller.cancel(1)
        assert (await caller.outcome(1)).state == run_pb2.RUN_STATE_CANCELLED
        async with asyncio.timeout(1):
            await process.exited.wait()
        assert not victim._waiting


async def test_a_runner_that_lost_its_server_connects_again(tmp_path: Path) -> None:
    async with World(tmp_path / "state") as first:
        port = first.port
        async with running(first):
            await first.inline(b"x", action="naughty.echo")
            await first.app.close()
            async with World(tmp_path / "state", port=port) as second:
                answer = await second.inline(b"again", action="naughty.echo")
            assert answer.parts[0].data == b"again"


async def test_no_process_survives_the_runner(world: World) -> None:
    async with running(world) as app:
        await world.inline(b"x", action="naughty.echo")
        pids = processes_of(app)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@asynccontextmanager
async def proxy(seen: list[bytes]) -> AsyncIterator[int]:
    """An HTTP CONNECT proxy that wants a password."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        if b"Basic " + base64.b64encode(b"user:secret") not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        host, port = head.split()[1].decode().rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_a_session_works_through_a_connect_proxy(world: World) -> None:
    seen: list[bytes] = []
    document = os.urandom(300_000)
    async with proxy(seen) as port, running(world, proxy=f"http://user:secret@127.0.0.1:{port}"):
        answer = await world.inline(document, action="naughty.echo")
    assert answer.parts[0].data == document
    assert len(seen) >= 2
    assert all(head.startswith(b"CONNECT localhost:") for head in seen)


async def test_a_proxy_that_refuses_keeps_the_runner_out(world: World) -> None:
    settings = run_pb2.RunSpec()
    settings.timeout.FromMilliseconds(1500)
    seen: list[bytes] = []
    async with proxy(seen) as port, running(world, proxy=f"http://user:wrong@127.0.0.1:{port}"):
        answer = await world.inline(b"x", action="naughty.echo", settings=settings)
    assert seen
    assert answer.outcome.state == run_pb2.RUN_STATE_DEADLINE_EXCEEDED


async def test_an_output_above_the_bound_ends_the_run(world: World) -> None:
    async with running(world, max_result_bytes=1 << 20):
        answer = await world.inline(b"x", action="naughty.flood")
    assert reason_of(answer.outcome.status) == "OUTPUT_TOO_LARGE"


async def test_an_unknown_action_is_refused_while_a_runner_is_connected(site: World) -> None:
    await site.inline(b"x", action="naughty.echo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await site.inline(b"x", action="naughty.unknown")
    assert from_rpc_error(caught.value).reason == "ACTION_UNKNOWN"
