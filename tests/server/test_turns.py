"""What a caller asks of order and place reaches the scheduler, and what it decides reaches the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2

from server.caller import Caller, calling, spec
from server.world import FakeRunner, World, hang

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
REJECTED = run_pb2.RUN_STATE_REJECTED
WHY = run_service_pb2.Queued


def once(key: str, conflict: int = run_pb2.Concurrency.CONFLICT_UNSPECIFIED, limit: int = 1) -> run_pb2.Concurrency:
    return run_pb2.Concurrency(key=key, limit=limit, conflict=conflict)  # type: ignore[arg-type]


async def hold(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Accept, and give no credit back."""
    await runner.accept(assign)
    await asyncio.Event().wait()


async def waits(caller: Caller, tag: int) -> int:
    why: int = (await caller.wait(tag, "queued")).reason
    return why


async def test_the_more_urgent_run_goes_first(world: World) -> None:
    async with world.runner(hold, attempts=1) as runner, calling(world) as caller:
        await caller.start_inline(1, b"first")
        first = await runner.assignment()
        for tag, priority in ((2, 5), (3, 1), (4, 0)):
            await caller.start_inline(tag, b"%d" % tag, priority=priority)
            assert await waits(caller, tag) == WHY.REASON_BUSY
        seen = []
        await runner.done(first)
        await runner.grant(1)
        for number in range(3):
            assign = await runner.assignment()
            seen.append(bytes(assign.inline_documents[0]))
            await runner.done(assign)
            await runner.grant(2 + number)
    assert seen == [b"3", b"4", b"2"]


@pytest.mark.parametrize("fields", [{"require_labels": {"gpu": "yes"}}, {"pool": "other"}], ids=["label", "pool"])
async def test_a_run_waits_for_a_runner_with_its_label_or_pool(world: World, fields: dict[str, Any]) -> None:
    async with world.runner(hang), calling(world) as caller:
        await caller.start_inline(1, b"x", **fields)
        assert await waits(caller, 1) == WHY.REASON_NO_RUNNER


async def test_a_run_goes_to_the_runner_that_has_its_label(world: World) -> None:
    async with world.runner(labels={"gpu": "yes"}), calling(world) as caller:
        await caller.start_inline(1, b"x", require_labels={"gpu": "yes"})
        assert (await caller.outcome(1)).state == SUCCEEDED


async def test_a_second_run_with_a_full_key_waits_until_the_first_has_ended(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", concurrency=once("erp"))
        first = await runner.assignment()
        await caller.start_inline(2, b"y", concurrency=once("erp"))
        assert await waits(caller, 2) == WHY.REASON_LIMIT
        await runner.done(first)
        assert (await runner.assignment()).inline_documents[0] == b"y"


@pytest.mark.parametrize(
    ("conflict", "reason"),
    [(run_pb2.Concurrency.CONFLICT_SKIP, "SKIPPED"), (run_pb2.Concurrency.CONFLICT_FAIL, "CONCURRENCY_EXCEEDED")],
)
async def test_a_run_with_a_full_key_is_refused_if_it_asks_for_that(world: World, conflict: int, reason: str) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", concurrency=once("erp"))
        await runner.assignment()
        await caller.start_inline(2, b"y", concurrency=once("erp", conflict))
        assert (await caller.failure(2)).reason == reason
        assert (await caller.outcome(2)).state == REJECTED


async def test_an_older_run_makes_way_if_the_newer_asks_for_that(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", concurrency=once("erp"))
        await runner.assignment()
        await caller.start_inline(2, b"y", concurrency=once("erp", run_pb2.Concurrency.CONFLICT_CANCEL_OLDER))
        assert (await caller.failure(1)).reason == "SUPERSEDED"
        assert (await runner.assignment()).inline_documents[0] == b"y"


async def test_a_run_beyond_its_rate_waits_for_time(world: World) -> None:
    limit = run_pb2.RateLimit(key="provider", runs=1, per=Duration(seconds=3600))
    async with world.runner(), calling(world) as caller:
        for tag in (1, 2):
            await caller.start_inline(tag, b"x", rate_limits=[limit])
        assert (await caller.outcome(1)).state == SUCCEEDED
        assert await waits(caller, 2) == WHY.REASON_LIMIT


@pytest.mark.parametrize(
    "fields",
    [
        {"priority": 6},
        {"concurrency": run_pb2.Concurrency()},
        {"rate_limits": [run_pb2.RateLimit(key="a", runs=1)]},
        {"rate_limits": [run_pb2.RateLimit(key="a", runs=0, per=Duration(seconds=1))]},
        {"require_labels": {"": "x"}},
    ],
)
async def test_a_turn_that_breaks_a_rule_is_refused(world: World, fields: dict[str, Any]) -> None:
    async with calling(world) as caller:
        await caller.start(1, spec(1, **fields), [b"x"])
        assert (await caller.failure(1)).reason == "INVALID_REQUEST"
