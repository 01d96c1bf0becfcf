"""The memory budget: what is held is reserved, also a result that grows, and no more is held than there is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2
from transom_server.budget import STEP_BYTES, Budget, Room
from transom_wire.limits import CHUNK_BYTES, INLINE_BYTES, MIB, UNARY_BYTES
from transom_wire.status import from_status

from server.caller import calling, spec
from server.site import WITHIN_S
from server.world import FakeRunner, World

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED


def giving(world: World, size: int, seen: list[int]) -> Any:
    """Answer a document of one byte with so many, and look at the budget meanwhile; leave every other document alone."""

    async def behave(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        if assign.documents[0].size_bytes > 1:
            return
        parts = [bytes(CHUNK_BYTES)] * (size // CHUNK_BYTES) + [bytes(size % CHUNK_BYTES)]
        await runner.push(assign, [part for part in parts if part])
        seen.append(world.app.budget.used_bytes)
        await runner.done(assign, parts=len(parts))

    return behave


async def test_a_unary_result_is_reserved_as_it_comes_and_let_go_with_the_answer(tmp_path: Path) -> None:
    seen: list[int] = []
    async with World(tmp_path / "state", memory_bytes=5 * MIB) as world, world.runner(giving(world, UNARY_BYTES, seen)):
        answer = await world.inline(b"x")
        assert answer.outcome.state == SUCCEEDED
        assert sum(len(part.data) for part in answer.parts) == UNARY_BYTES
        assert UNARY_BYTES <= seen[0] <= UNARY_BYTES + 2 * INLINE_BYTES
        assert world.app.budget.used_bytes == 0


async def test_a_small_unary_result_takes_nothing_beyond_its_run_s_own(tmp_path: Path) -> None:
    seen: list[int] = []
    async with World(tmp_path / "state") as world, world.runner(giving(world, INLINE_BYTES, seen)):
        assert (await world.inline(b"x")).outcome.state == SUCCEEDED
    assert seen == [1 + INLINE_BYTES]


async def test_a_unary_run_whose_result_finds_no_memory_ends_and_the_next_is_served(tmp_path: Path) -> None:
    seen: list[int] = []
    async with (
        World(tmp_path / "state", memory_bytes=8 * MIB) as world,
        world.runner(giving(world, UNARY_BYTES, seen)) as runner,
        calling(world) as caller,
    ):
        # Each takes 3 MiB: its document, and a window for its result.
        for tag in (1, 2):
            await caller.start(tag, spec(MIB))
            await caller.wait(tag, "upload_credit")
        refused = await world.inline(b"x")
        assert world.app.budget.used_bytes == 6 * MIB
        await caller.cancel(1)
        await caller.outcome(1)
        answer = await world.inline(b"x")
        assert not runner.ended.is_set()
        assert world.app.budget.used_bytes == 3 * MIB
    assert (refused.outcome.state, from_status(refused.outcome.status).reason) == (run_pb2.RUN_STATE_FAILED, "MEMORY_EXHAUSTED")
    assert not refused.parts
    assert answer.outcome.state == SUCCEEDED


async def test_a_unary_caller_that_goes_away_leaves_no_memory_reserved(tmp_path: Path) -> None:
    pushed = asyncio.Event()

    async def half(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.push(assign, [bytes(MIB)])
        pushed.set()

    async with World(tmp_path / "state") as world, world.runner(half) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        async with asyncio.timeout(WITHIN_S):
            await pushed.wait()
        assert world.app.budget.used_bytes >= MIB
        call.cancel()
        await runner.hear("cancel")
        with pytest.raises(asyncio.CancelledError):
            await call
        assert world.app.budget.used_bytes == 0


# The budget itself.


def test_a_room_grows_in_steps_and_gives_all_back() -> None:
    budget = Budget(4 * STEP_BYTES)
    room = Room(budget)
    for size, reserved in ((0, 0), (1, 1), (STEP_BYTES, 1), (STEP_BYTES + 1, 2), (5, 2), (4 * STEP_BYTES, 4)):
        assert room.fit(size)
        assert (room.size_bytes, budget.used_bytes) == (reserved * STEP_BYTES, reserved * STEP_BYTES)
    assert not room.fit(4 * STEP_BYTES + 1)
    assert budget.used_bytes == 4 * STEP_BYTES
    room.release()
    room.release()
    assert (room.size_bytes, budget.used_bytes) == (0, 0)


async def test_what_has_begun_grows_before_those_that_wait_begin() -> None:
    budget = Budget(3 * STEP_BYTES)
    room = Room(budget)
    assert room.fit(1)
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await budget.reserve(3 * STEP_BYTES)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wait(), name="waits")
        await waiting.wait()
        assert not budget.try_reserve(1)
        assert room.fit(2 * STEP_BYTES)
        room.release()
    assert budget.used_bytes == 3 * STEP_BYTES
