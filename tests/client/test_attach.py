"""A client whose connection is lost comes back to its run by itself, and its caller sees nothing of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest
from server.attaching import reached
from server.site import WITHIN_S
from server.world import World, hang, piece
from transom_client import Accepted, AttemptStarted, Client, Ended, PartDone, RunState
from transom_client.events import Event
from transom_server.app import App
from transom_wire.limits import MIB

from client.reach import profile_of
from client.relay import Relay, relaying

GRACE_S = 60.0


@pytest.fixture
async def relay(world: World) -> AsyncIterator[Relay]:
    async with relaying(world.app.port) as relay:
        yield relay


@pytest.fixture
async def far(world: World, relay: Relay) -> AsyncIterator[Client]:
    async with Client(msgspec.structs.replace(profile_of(world), endpoint=f"localhost:{relay.port}")) as client:
        yield client


def joined(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, PartDone))


def seen(events: list[Event]) -> tuple[int, list[int], int]:
    accepted = sum(isinstance(event, Accepted) for event in events)
    attempts = [event.attempt for event in events if isinstance(event, AttemptStarted)]
    return accepted, attempts, sum(isinstance(event, Ended) for event in events)


async def test_a_result_that_is_cut_again_and_again_comes_once_and_whole(world: World, far: Client, relay: Relay) -> None:
    data = os.urandom(10 * MIB)
    events: list[Event] = []
    async with world.runner() as runner:
        async for event in far.process(data, action="test.echo", timeout_s=WITHIN_S, detach_grace_s=GRACE_S, resend=False):
            events.append(event)
            if isinstance(event, PartDone) and len(joined(events)) in {2 * MIB, 5 * MIB, 8 * MIB}:
                relay.cut()
        assert runner.assigned.qsize() == 1
    assert relay.cuts == 3
    assert joined(events) == data
    assert seen(events) == (1, [1], 1)
    await reached(lambda: not len(world.app.followings))
    assert world.app.budget.used_bytes == 0


async def test_a_run_that_ended_while_the_client_was_away_is_told(world: World, far: Client, relay: Relay) -> None:
    async with world.runner(hang) as runner:
        task = asyncio.create_task(far.run(b"x", action="test.echo", timeout_s=WITHIN_S, detach_grace_s=GRACE_S, resend=False))
        assign = await runner.assignment()
        await reached(lambda: any(run.attempts[-1].accepted for run in world.app.dispatch.runs.values()))
        relay.away = True
        relay.cut()
        (follow,) = world.app.followings._follows.values()
        await reached(lambda: follow._follower is None)
        await runner.send(assign, piece(0, b"while away"))
        await runner.done(assign, parts=1)
        await reached(lambda: follow.run.ended)
        relay.away = False
        async with asyncio.timeout(WITHIN_S):
            result = await task
    assert result.outcome.succeeded
    assert [part.data for part in result.parts] == [b"while away"]


async def test_an_upload_that_is_cut_goes_on(world: World, far: Client, relay: Relay) -> None:
    data = os.urandom(8 * MIB)
    async with world.runner() as runner:
        task = asyncio.create_task(far.run(data, action="test.echo", timeout_s=WITHIN_S, detach_grace_s=GRACE_S, resend=False))
        await reached(lambda: any(run.payload._received > MIB for run in world.app.dispatch.runs.values()))
        relay.cut()
        async with asyncio.timeout(WITHIN_S):
            result = await task
        assert runner.assigned.qsize() == 1
    assert b"".join(part.data for part in result.parts) == data


async def test_without_a_grace_a_cut_ends_the_run(world: World, far: Client, relay: Relay) -> None:
    async with world.runner(hang) as runner:
        task = asyncio.create_task(far.run(b"x", action="test.echo", timeout_s=WITHIN_S, resend=False))
        await runner.assignment()
        relay.cut()
        assert (await task).outcome.state is RunState.LOST
        await runner.hear("cancel")


async def test_leaving_an_attached_run_cancels_it(world: World, far: Client, relay: Relay) -> None:
    async with world.runner(hang) as runner:
        stream = far.process(b"x", action="test.echo", timeout_s=WITHIN_S, detach_grace_s=GRACE_S)
        async with aclosing(stream) as events:
            while not isinstance(await anext(events), AttemptStarted):
                pass
            relay.cut()
            (follow,) = world.app.followings._follows.values()
            waiting = asyncio.ensure_future(anext(events))
            await reached(lambda: follow.joined)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await runner.hear("cancel")


async def test_a_run_that_is_unknown_by_now_is_sent_again(world: World, client: Client) -> None:
    async with world.runner(hang) as runner:
        task = asyncio.create_task(client.run(b"x", action="test.echo", timeout_s=WITHIN_S, detach_grace_s=GRACE_S))
        await runner.assignment()
        port = world.app.port
        await world.app.close()
        world.app = App(msgspec.structs.replace(world.config, port=port))
        await world.app.start()
    async with world.runner():
        async with asyncio.timeout(WITHIN_S):
            assert (await task).outcome.succeeded


async def test_two_calls_with_one_key_have_one_run(world: World, client: Client) -> None:
    async with world.runner(hang) as runner:
        first = asyncio.create_task(client.run(b"x", action="test.echo", timeout_s=WITHIN_S, idempotency_key="k"))
        assign = await runner.assignment()
        second = asyncio.create_task(client.run(b"x", action="test.echo", timeout_s=WITHIN_S, idempotency_key="k"))
        left = await first
        await runner.send(assign, piece(0, b"x"))
        await runner.done(assign, parts=1)
        result = await second
        again = await client.run(b"x", action="test.echo", idempotency_key="k", timeout_s=WITHIN_S)
        assert runner.assigned.empty()
    assert left.outcome.error is not None
    assert left.outcome.error.reason == "RUN_TAKEN_OVER"
    assert left.run == result.run
    assert [part.data for part in result.parts] == [b"x"]
    assert again.outcome.error is not None
    assert again.outcome.error.reason == "RUN_EXISTS"
    assert again.outcome.error.metadata["state"] == "SUCCEEDED"


async def test_a_run_that_was_cut_is_joined_by_its_key(world: World, client: Client, far: Client, relay: Relay) -> None:
    async with world.runner(hang) as runner:
        settings = {"action": "test.echo", "timeout_s": WITHIN_S, "idempotency_key": "k", "detach_grace_s": GRACE_S}
        first = asyncio.create_task(far.run(b"x", **settings))
        assign = await runner.assignment()
        relay.away = True
        relay.cut()
        (follow,) = world.app.followings._follows.values()
        await reached(lambda: follow._follower is None)
        second = asyncio.create_task(client.run(b"x", **settings))
        await reached(lambda: follow.joined)
        await runner.send(assign, piece(0, b"x"))
        await runner.done(assign, parts=1)
        assert [part.data for part in (await second).parts] == [b"x"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert runner.assigned.empty()
