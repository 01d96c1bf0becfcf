"""What a caller hears when the server goes away in the middle of a run, and comes back."""

from __future__ import annotations

import asyncio
import os

import grpc
import msgspec
from server.site import WITHIN_S
from server.world import FakeRunner, World, hang
from transom_client import Accepted, AttemptStarted, Client, RunState
from transom_client.client import Result
from transom_client.failures import error_of
from transom_server.app import App
from transom_wire.errors import Internal, Unavailable


async def restart(world: World) -> None:
    """End the server with everything on it, and start another at the same port."""
    port = world.app.port
    await world.app.close()
    world.app = App(msgspec.structs.replace(world.config, port=port))
    await world.app.start()


async def begin(client: Client, runner: FakeRunner, data: bytes = b"x", *, resend: bool | None = None) -> asyncio.Task[Result]:
    task = asyncio.create_task(client.run(data, action="test.echo", timeout_s=WITHIN_S, resend=resend))
    async with asyncio.timeout(WITHIN_S):
        await runner.assigned.get()
    return task


async def test_an_idempotent_run_is_sent_again_to_the_server_that_comes_back(world: World, client: Client) -> None:
    data = os.urandom(200_000)
    async with world.runner(hang) as runner:
        task = await begin(client, runner, data)
        await restart(world)
    async with world.runner():
        result = await task
    assert result.outcome.succeeded
    assert b"".join(part.data for part in result.parts) == data


async def test_a_run_that_may_have_had_effects_is_lost_and_not_sent_again(world: World, client: Client) -> None:
    runner = FakeRunner(world, hang)
    runner.hello.actions[0].idempotent = False
    serving = asyncio.create_task(runner.serve())
    task = await begin(client, runner)
    await restart(world)
    await runner.leave()
    await asyncio.gather(serving, return_exceptions=True)

    again = FakeRunner(world, hang)
    again.hello.actions[0].idempotent = False
    serving = asyncio.create_task(again.serve())
    async with asyncio.timeout(WITHIN_S):
        result = await task
    assert result.outcome.state is RunState.LOST
    assert again.assigned.empty()
    await again.leave()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_caller_can_forbid_that_a_run_is_sent_again(world: World, client: Client) -> None:
    async with world.runner(hang) as runner:
        task = await begin(client, runner, resend=False)
        await restart(world)
        async with asyncio.timeout(WITHIN_S):
            result = await task
    assert result.outcome.state is RunState.LOST
    assert result.outcome.error is not None
    assert result.outcome.error.reason == "UNAVAILABLE"


async def test_attempts_go_on_counting_after_a_run_was_sent_again(world: World, client: Client) -> None:
    events: list[object] = []
    started = asyncio.Event()

    async def follow() -> None:
        async for event in client.process(b"x", action="test.echo", timeout_s=WITHIN_S):
            events.append(event)
            started.set()

    async with world.runner(hang) as runner:
        task = asyncio.create_task(follow())
        async with asyncio.timeout(WITHIN_S):
            await runner.assigned.get()
            while not any(isinstance(event, AttemptStarted) for event in events):
                started.clear()
                await started.wait()
        await restart(world)
    async with world.runner():
        await task
    assert [event.attempt for event in events if isinstance(event, AttemptStarted)] == [1, 2]
    assert sum(isinstance(event, Accepted) for event in events) == 2


async def test_the_next_run_opens_a_stream_anew(world: World, client: Client) -> None:
    async with world.runner():
        assert (await client.run(b"x", action="test.echo")).outcome.succeeded
    await restart(world)
    async with world.runner():
        assert (await client.run(b"x", action="test.echo")).outcome.succeeded


async def test_a_run_that_begins_while_the_server_is_away_waits_for_it(world: World, client: Client) -> None:
    async with world.runner():
        assert (await client.run(b"x", action="test.echo")).outcome.succeeded
    port = world.app.port
    await world.app.close()
    task = asyncio.create_task(client.run(b"x", action="test.echo", timeout_s=WITHIN_S, resend=True))
    done, _ = await asyncio.wait((task,), timeout=0.5)
    assert not done
    world.app = App(msgspec.structs.replace(world.config, port=port))
    await world.app.start()
    async with world.runner():
        assert (await task).outcome.succeeded


async def test_a_connection_that_breaks_while_a_call_begins_is_called_broken() -> None:
    # grpc.aio makes this up, and no server.
    nothing = grpc.aio.Metadata()
    assert type(error_of(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "Internal error from Core"))) is Unavailable
    assert type(error_of(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "another"))) is Internal
