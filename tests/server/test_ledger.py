"""What the server remembers of runs, and how it is listed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from transom.plugins.v1 import action_pb2
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_wire.status import from_rpc_error

from server.caller import calling, spec
from server.world import World, hang

SUCCEEDED, CANCELLED = run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_CANCELLED
OTHER = action_pb2.Action(name="test.other", plugin="test", version="1", persistence=action_pb2.PERSISTENCE_NONE)
ECHO = action_pb2.Action(name="test.echo", plugin="test", version="1", persistence=action_pb2.PERSISTENCE_NONE)


async def listed(world: World, **request: Any) -> run_service_pb2.ListResponse:
    answer: run_service_pb2.ListResponse = await world.runs().List(run_service_pb2.ListRequest(**request), metadata=world.metadata())
    return answer


async def test_a_run_is_remembered_by_its_metadata(world: World) -> None:
    async with world.runner():
        answer = await world.inline(b"hello", b"world")
    found: Any = await world.runs().Get(run_service_pb2.GetRequest(name=answer.name), metadata=world.metadata("viewer"))
    run = found.run
    assert (run.name, run.action, run.state, run.reason, run.principal) == (answer.name, "test.echo", SUCCEEDED, "", "tester")
    assert (run.attempts, run.documents, run.size_bytes) == (1, 2, 10)
    assert run.runner
    assert run.evidence == answer.outcome.evidence
    assert run.create_time.ToMicroseconds() <= run.start_time.ToMicroseconds() <= run.end_time.ToMicroseconds()


async def test_a_live_run_is_listed_and_then_its_end(world: World) -> None:
    async with world.runner(hang) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        assign = await runner.assignment()
        (live,) = (await listed(world)).runs
        await runner.done(assign)
        await call
        (ended,) = (await listed(world)).runs
    assert live.state == run_pb2.RUN_STATE_RUNNING
    assert not live.HasField("end_time")
    assert (ended.name, ended.state) == (live.name, SUCCEEDED)


async def test_runs_are_listed_newest_first_in_pages(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        for tag in range(1, 8):
            await caller.start_inline(tag, b"x")
            await caller.outcome(tag)
    names = [caller.of(tag, "accepted")[0].name for tag in range(7, 0, -1)]
    seen: list[str] = []
    token, pages = "", 0
    while pages == 0 or token:
        answer = await listed(world, page_size=3, page_token=token)
        seen += [run.name for run in answer.runs]
        token, pages = answer.next_page_token, pages + 1
    # Runs of the same millisecond have no order among themselves.
    assert sorted(seen, reverse=True) == seen
    assert sorted(seen) == sorted(names)
    assert pages == 3
    exact = await listed(world, page_size=7)
    assert (len(exact.runs), exact.next_page_token) == (7, "")


async def test_runs_are_filtered_by_state_and_action(world: World) -> None:
    async with world.runner(actions=(ECHO, OTHER)):
        await world.inline(b"x")
        other = await world.inline(b"x", action="test.other")
    async with calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "queued")
        await caller.cancel(1)
        await caller.outcome(1)
    assert [run.name for run in (await listed(world, action="test.other")).runs] == [other.name]
    assert [run.state for run in (await listed(world, states=[CANCELLED])).runs] == [CANCELLED]
    assert len((await listed(world, states=[CANCELLED, SUCCEEDED])).runs) == 3
    assert len((await listed(world, states=[SUCCEEDED], action="test.other")).runs) == 1
    assert not (await listed(world, action="' OR 1=1 --")).runs


async def test_a_negative_page_size_is_refused(world: World) -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT") as caught:
        await listed(world, page_size=-1)
    assert from_rpc_error(caught.value).violations[0][0] == "page_size"  # type: ignore[arg-type]


async def test_a_refused_run_is_not_remembered(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        await caller.start_inline(1, b"x", action="test.unknown")
        await caller.outcome(1)
    assert not (await listed(world)).runs


async def test_a_run_whose_principal_is_not_plain_is_served_and_not_remembered(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with world.runner():
        answer = await world.inline(b"x", subject="QZX MARKER 7731")
    assert answer.outcome.state == SUCCEEDED
    assert not (await listed(world)).runs
    assert "ledger.refused" in [record.message for record in caplog.records]
    assert "QZX" not in caplog.text


async def test_a_ledger_that_cannot_be_written_does_not_stop_runs(world: World) -> None:
    ledger = world.app.ledger
    with ledger._engine.begin() as connection:
        connection.execute(text("DROP TABLE runs"))
    async with world.runner():
        assert (await world.inline(b"x")).outcome.state == SUCCEEDED
        assert (await world.inline(b"y")).outcome.state == SUCCEEDED
    # Make it anew, so that the server can close its books.
    from transom_server.ledger.schema import RUNS

    RUNS.create(ledger._engine)


async def test_runs_survive_a_restart(tmp_path: Path) -> None:
    async with World(tmp_path / "state") as world, world.runner():
        name = (await world.inline(b"x")).name
    async with World(tmp_path / "state") as world:
        assert [run.name for run in (await listed(world)).runs] == [name]


async def test_an_upload_that_never_came_is_remembered_as_failed(world: World) -> None:
    async with calling(world) as caller:
        await caller.start(1, spec(100))
        await caller.wait(1, "upload_credit")
        await caller.half_close()
        await caller.outcome(1)
    (run,) = (await listed(world)).runs
    assert (run.state, run.reason, run.attempts) == (run_pb2.RUN_STATE_FAILED, "SIZE_MISMATCH", 0)
