"""What operators do with runners and the queue, by the command line against a real server."""

from __future__ import annotations

import json

import pytest
from server.caller import calling
from server.world import World, hang

from client.command import transom, use


@pytest.fixture(autouse=True)
def _profile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_PROFILE", "")
    use(world)


async def test_a_cordoned_runner_gets_nothing_until_the_cordon_is_lifted(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        assert "CORDONED" in (await transom("runners", "cordon", "testhost")).out
        await caller.start_inline(1, b"x")
        await caller.wait(1, "queued")
        row = json.loads((await transom("queue", "-o", "json")).out)
        assert (row["action"], row["tenant"], row["depth"]) == ("test.echo", "default", 1)
        assert runner.assigned.empty()
        assert "CONNECTED" in (await transom("runners", "uncordon", "testhost")).out
        await runner.assignment()
        assert (await transom("queue", "-o", "json")).out == ""


async def test_a_cordon_outlives_the_session_of_its_runner(world: World) -> None:
    async with world.runner(hang):
        await transom("runners", "cordon", "testhost")
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "queued")
        assert runner.assigned.empty()


async def test_a_draining_runner_gets_nothing_new(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        assert "DRAINING" in (await transom("runners", "drain", "testhost")).out
        await caller.start_inline(1, b"x")
        await caller.wait(1, "queued")
        assert runner.assigned.empty()


async def test_a_runner_that_is_not_there_is_told_by_its_reason(world: World) -> None:
    for verb in ("cordon", "uncordon", "drain"):
        done = await transom("runners", verb, "nobody")
        assert done.code == 1
        assert "no such runner is connected" in done.err


async def test_the_labels_of_runners_are_listed(world: World) -> None:
    async with world.runner(labels={"zone": "eu"}):
        assert "zone   eu" in (await transom("runners", "labels")).out
        assert json.loads((await transom("runners", "labels", "-o", "json")).out)["labels"] == {"zone": "eu"}


async def test_another_tenant_does_not_see_what_waits(world: World) -> None:
    async with calling(world, tenant="other") as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "queued")
        assert (await transom("queue", "-o", "json")).out == ""
