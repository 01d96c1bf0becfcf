"""The `Process` stream when all goes well: starting, uploading, batching, credit, half-close, cancel."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_wire.errors import InvalidRequest
from transom_wire.limits import CHUNK_BYTES, MIB, RESULT_WINDOW_BYTES
from transom_wire.status import from_rpc_error

from server.caller import calling, spec
from server.site import rest_of
from server.world import FakeRunner, World, hang

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
CANCELLED = run_pb2.RUN_STATE_CANCELLED


def give(size: int) -> Any:
    """Answer each assignment with so many bytes, in chunks."""

    async def behave(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        parts = [bytes(CHUNK_BYTES)] * (size // CHUNK_BYTES)
        await runner.push(assign, parts)
        await runner.done(assign, parts=len(parts))

    return behave


async def test_a_run_with_inline_documents_is_accepted_started_and_answered(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        await caller.start_inline(1, b"one", b"two")
        outcome = await caller.outcome(1)
    assert outcome.state == SUCCEEDED
    assert caller.kinds(1) == ["accepted", "attempt", "result", "result", "outcome"]
    assert [chunk.data for chunk in caller.of(1, "result")] == [b"one", b"two"]
    assert [one.reason for one in outcome.attempts] == [""]


async def test_five_megabytes_are_uploaded_under_credit_and_come_back(world: World) -> None:
    document = bytes(range(256)) * 20_480
    async with world.runner(), calling(world) as caller:
        await caller.start(7, spec(len(document)))
        upload = asyncio.create_task(caller.upload(7, document))
        await caller.wait_bytes(7, RESULT_WINDOW_BYTES)
        await caller.grant(7, len(document))
        outcome = await caller.outcome(7)
        await upload
    assert outcome.state == SUCCEEDED
    assert caller.result(7) == document


async def test_a_document_above_the_server_memory_limit_is_relayed_in_a_window(world: World) -> None:
    document = bytes(3 * MIB)
    async with world.runner(), calling(world) as caller:
        await caller.start(1, spec(len(document), replay_mode=run_pb2.REPLAY_MODE_CALLER))
        first = await caller.wait(1, "upload_credit")
        await caller.upload(1, document)
        outcome = await caller.outcome(1)
    assert outcome.state == SUCCEEDED
    assert first.total_bytes == MIB
    assert caller.result(1) == document


async def test_many_runs_share_a_stream_and_each_has_one_outcome_that_comes_last(world: World) -> None:
    async with world.runner(attempts=20), calling(world) as caller:
        items = [_start(tag, b"document %d" % tag) for tag in range(1, 201)]
        for at in range(0, 200, 64):
            await caller.say(*items[at : at + 64])
        await caller.half_close()
        assert await caller.end() is None
    for tag in range(1, 201):
        assert caller.kinds(tag).count("outcome") == 1
        assert caller.kinds(tag)[-1] == "outcome"
        assert caller.of(tag, "outcome")[0].state == SUCCEEDED
        assert [event.sequence for event in caller.events[tag]] == list(range(1, len(caller.events[tag]) + 1))
        assert caller.result(tag) == b"document %d" % tag
    assert len(caller.events) == 200


def _start(tag: int, document: bytes) -> run_service_pb2.ProcessItem:
    return run_service_pb2.ProcessItem(tag=tag, start=run_service_pb2.StartRun(spec=spec(len(document)), inline_documents=[document]))


async def test_no_more_of_a_result_is_sent_than_the_caller_has_room_for(world: World) -> None:
    size = RESULT_WINDOW_BYTES + 2 * MIB
    async with world.runner(give(size)) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait_bytes(1, RESULT_WINDOW_BYTES)
        # Another run on the same stream and runner comes and goes, so whatever was to be sent would have been sent.
        await caller.start_inline(2, b"y")
        await caller.wait_bytes(2, RESULT_WINDOW_BYTES)
        assert len(caller.result(1)) == RESULT_WINDOW_BYTES
        assert not caller.of(1, "outcome")
        await caller.grant(1, RESULT_WINDOW_BYTES + MIB)
        await caller.wait_bytes(1, RESULT_WINDOW_BYTES + MIB)
        assert not caller.of(1, "outcome")
        await caller.grant(1, size)
        outcome = await caller.outcome(1)
        assert runner.assigned.qsize() == 2
    assert outcome.state == SUCCEEDED
    assert len(caller.result(1)) == size


async def test_a_cancelled_run_ends_although_the_caller_has_no_room_for_its_result(world: World) -> None:
    async with world.runner(give(RESULT_WINDOW_BYTES + MIB)), calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait_bytes(1, RESULT_WINDOW_BYTES)
        await caller.cancel(1)
        # Whether the runner had ended first or not, an outcome must come.
        outcome = await caller.outcome(1)
    assert outcome.state in {CANCELLED, SUCCEEDED}


async def test_a_result_is_not_stuck_when_no_credit_can_come_any_more(world: World) -> None:
    size = RESULT_WINDOW_BYTES + MIB
    async with world.runner(give(size)), calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.half_close()
        outcome = await caller.outcome(1)
        assert await caller.end() is None
    assert outcome.state == SUCCEEDED
    assert len(caller.result(1)) == size


async def test_cancel_reaches_the_runner_and_the_caller(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        async with asyncio.timeout(1.0):
            await caller.cancel(1)
            cancel = await runner.hear("cancel")
            outcome = await caller.outcome(1)
        assign = await runner.assignment()
    assert cancel.fence == assign.fence
    assert cancel.kill_after.ToMilliseconds() == 200
    assert outcome.state == CANCELLED
    assert outcome.attempts[0].state == CANCELLED


async def test_a_run_that_waits_can_be_cancelled(world: World) -> None:
    async with calling(world) as caller:
        await caller.start_inline(1, b"x")
        queued = await caller.wait(1, "queued")
        await caller.cancel(1)
        assert (await caller.outcome(1)).state == CANCELLED
    assert queued.reason == run_service_pb2.Queued.REASON_NO_RUNNER


async def test_cancelling_twice_or_after_the_end_does_nothing(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.outcome(1)
        await caller.cancel(1)
        await caller.cancel(1)
        await caller.start_inline(2, b"y")
        await caller.outcome(2)
    assert caller.kinds(1).count("outcome") == 1


async def test_half_close_means_no_more_input_and_the_run_goes_on(world: World) -> None:
    go = asyncio.Event()

    async def late(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await go.wait()
        await runner.done(assign)

    async with world.runner(late) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.half_close()
        await runner.assignment()
        go.set()
        assert (await caller.outcome(1)).state == SUCCEEDED
        assert await caller.end() is None


async def test_a_caller_that_goes_away_has_its_runs_cancelled(world: World) -> None:
    async with world.runner(hang) as runner:
        async with calling(world) as caller:
            await caller.start_inline(1, b"x")
            await caller.wait(1, "attempt")
        cancel = await runner.hear("cancel")
        assign = await runner.assignment()
    assert cancel.fence == assign.fence


async def test_an_inline_caller_that_goes_away_has_its_run_cancelled(world: World) -> None:
    async with world.runner(hang) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        await runner.assignment()
        call.cancel()
        await runner.hear("cancel")
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_progress_is_passed_on(world: World) -> None:
    async def slowly(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        progress = session_pb2.AttemptProgress(fence=assign.fence, side_effects=run_pb2.SIDE_EFFECTS_NONE, done=1, total=3)
        await runner.say(wire.RunnerItem(progress=progress))
        await runner.done(assign)

    async with world.runner(slowly), calling(world) as caller:
        await caller.start_inline(1, b"x")
        progress = await caller.wait(1, "progress")
    assert (progress.done, progress.total) == (1, 3)


async def test_a_stream_takes_only_so_many_runs_at_once(tmp_path: Any) -> None:
    async with World(tmp_path / "state", max_runs_per_stream=2) as world, world.runner(hang), calling(world) as caller:
        for tag in (1, 2, 3):
            await caller.start_inline(tag, b"x")
        assert (await caller.failure(3)).reason == "TOO_MANY_RUNS"
        await caller.cancel(1)
        await caller.outcome(1)
        await caller.start_inline(4, b"x")
        await caller.wait(4, "attempt")


async def test_a_run_beyond_the_memory_budget_waits_for_memory(tmp_path: Any) -> None:
    async with World(tmp_path / "state", memory_bytes=12 * MIB) as world, world.runner(hang), calling(world) as caller:
        await caller.start(1, spec(6 * MIB))
        await caller.wait(1, "upload_credit")
        await caller.start(2, spec(6 * MIB))
        queued = await caller.wait(2, "queued")
        assert queued.reason == run_service_pb2.Queued.REASON_MEMORY
        assert not caller.of(2, "upload_credit")
        await caller.cancel(1)
        await caller.wait(2, "upload_credit")


async def test_a_caller_that_reads_nothing_harms_only_itself(tmp_path: Any) -> None:
    async with World(tmp_path / "state", max_runs_per_stream=200) as world, world.runner(give(4 * CHUNK_BYTES), attempts=200) as runner:
        call: Any = world.runs().Process(metadata=world.metadata())
        for tag in range(1, 121):
            await call.write(run_service_pb2.ProcessRequest(items=[_start(tag, b"x")]))
        # Its runs are cancelled once too much lies unread.
        await runner.hear("cancel")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rest_of(call)
        assert from_rpc_error(caught.value).reason == InvalidRequest.reason
        assert not runner.ended.is_set()
        assert (await world.inline(b"good")).outcome.state == SUCCEEDED
