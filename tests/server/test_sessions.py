"""A runner's session: greeting, liveness, draining, and what it may not do to others."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from transom.plugins.v1 import action_pb2, action_service_pb2, action_service_pb2_grpc
from transom.runners.v1 import fleet_service_pb2, fleet_service_pb2_grpc, session_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runs.v1 import run_pb2
from transom_wire.limits import INLINE_BYTES, MIB, PUSH_WINDOW_BYTES
from transom_wire.status import from_rpc_error

from server.caller import calling, spec
from server.site import WITHIN_S
from server.world import ECHO, FakeRunner, World, hang, piece, silent

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED


async def refused(runner: FakeRunner) -> str:
    """Wait for the end of a runner's session, and return its reason."""
    async with asyncio.timeout(WITHIN_S):
        code = await runner.call.code()
    assert code is not grpc.StatusCode.OK
    try:
        await runner.call.read()
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    raise AssertionError


async def test_a_session_is_told_its_pace(world: World) -> None:
    async with world.runner() as runner:
        welcome = await runner.hear("welcome")
    assert welcome.heartbeat_every.ToMilliseconds() == 10_000
    assert welcome.dead_after.ToMilliseconds() == 25_000
    assert welcome.session


async def test_a_session_that_does_not_begin_with_hello_is_refused(world: World) -> None:
    runner = FakeRunner(world, hang)
    runner.call = runner.stub.Session()
    await runner.say(wire.RunnerItem(heartbeat=session_pb2.Heartbeat()))
    assert await refused(runner) == "INVALID_REQUEST"
    await runner.leave()


async def test_a_session_of_another_protocol_version_is_refused(world: World) -> None:
    runner = FakeRunner(world, hang, protocol=2)
    runner.call = runner.stub.Session()
    await runner.say(wire.RunnerItem(hello=runner.hello))
    assert await refused(runner) == "INVALID_REQUEST"
    await runner.leave()


async def test_a_silent_runner_is_dropped_and_its_run_given_to_another(tmp_path: Path) -> None:
    impatient = World(tmp_path / "state", heartbeat_every_s=0.1, dead_after_s=0.3)
    async with impatient as world, world.runner(hang) as mute, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        await mute.hear("heartbeat")
        async with asyncio.timeout(WITHIN_S):
            await mute.ended.wait()
        async with world.runner(who=world.issue("other", "runner/other")):
            assert (await caller.outcome(1)).state == SUCCEEDED


async def test_a_runner_that_beats_is_kept(tmp_path: Path) -> None:
    async with World(tmp_path / "state", heartbeat_every_s=0.1, dead_after_s=0.3) as world, world.runner() as runner:
        for _ in range(10):
            await runner.hear("heartbeat")
            await runner.say(wire.RunnerItem(heartbeat=session_pb2.Heartbeat(running=0)))
        assert not runner.ended.is_set()
        assert (await world.inline(b"x")).outcome.state == SUCCEEDED


async def test_a_draining_runner_gets_nothing_new_and_finishes_what_it_has(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        assign = await runner.assignment()
        await runner.say(wire.RunnerItem(drain=session_pb2.RunnerDrain()))
        await runner.hear("barrier")
        await caller.start_inline(2, b"y")
        await caller.wait(2, "queued")
        await runner.done(assign)
        assert (await caller.outcome(1)).state == SUCCEEDED
        assert (await listed(world))[0].status == fleet_service_pb2.RUNNER_STATUS_DRAINING
        assert runner.assigned.empty()


async def test_a_runner_gets_no_more_than_its_credit(world: World) -> None:
    async def busy(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.ended.wait()

    async with world.runner(busy, attempts=1) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        await caller.start_inline(2, b"y")
        await caller.wait(2, "queued")
        assert runner.assigned.qsize() == 1


async def test_a_runner_cannot_fetch_what_another_was_given(world: World) -> None:
    async with world.runner(hang) as owner, calling(world) as caller:
        await caller.start(1, spec(MIB))
        await caller.upload(1, bytes(MIB))
        assign = await owner.assignment()
        async with world.runner(hang, who=world.issue("other", "runner/other"), attempts=0) as thief:
            with pytest.raises(grpc.aio.AioRpcError) as fetched:
                await thief.fetch(assign, 0)
            with pytest.raises(grpc.aio.AioRpcError) as pushed:
                await thief.push(assign, [b"forged"])
        assert not caller.of(1, "result")
    assert from_rpc_error(fetched.value).reason == "RUN_UNKNOWN"
    assert from_rpc_error(pushed.value).reason == "RUN_UNKNOWN"


@pytest.mark.parametrize("item", ["reply", "refusal", "result", "progress", "done"])
async def test_what_a_runner_says_of_another_s_attempt_is_ignored(tmp_path: Path, item: str) -> None:
    async with World(tmp_path / "state", accept_within_s=60.0) as world, world.runner(silent) as owner, calling(world) as caller:
        await caller.start_inline(1, b"x", max_attempts=1)
        assign = await owner.assignment()
        async with world.runner(hang, who=world.issue("other", "runner/other"), attempts=0) as thief:
            forged = {
                "reply": wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=True)),
                "refusal": wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=False)),
                "result": wire.RunnerItem(result=session_pb2.AttemptResult(fence=assign.fence, chunks=[piece(0, b"forged")])),
                "progress": wire.RunnerItem(progress=session_pb2.AttemptProgress(fence=assign.fence, done=1, total=1)),
                "done": wire.RunnerItem(done=session_pb2.AttemptDone(fence=assign.fence, state=run_pb2.RUN_STATE_FAILED)),
            }
            await thief.say(forged[item], wire.RunnerItem(drain=session_pb2.RunnerDrain()))
            # What came before the drain has been acted on.
            await thief.hear("barrier")
            assert not thief.ended.is_set()
        assert set(caller.kinds(1)) == {"accepted"}
        await owner.accept(assign)
        await owner.send(assign, piece(0, b"right"))
        await owner.done(assign, parts=1)
        outcome = await caller.outcome(1)
    assert (outcome.state, outcome.side_effects) == (SUCCEEDED, run_pb2.SIDE_EFFECTS_NONE)
    assert caller.result(1) == b"right"


async def test_a_document_that_the_run_does_not_have_is_not_found(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await runner.fetch(await runner.assignment(), 1)
    assert from_rpc_error(caught.value).reason == "INVALID_REQUEST"


async def test_too_much_result_on_the_control_stream_ends_the_session(world: World) -> None:
    async def flood(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        for number in range(3):
            await runner.send(assign, piece(number, bytes(INLINE_BYTES // 2)))

    async with world.runner(flood) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", max_attempts=1)
        assert (await caller.failure(1)).reason == "RUNNER_LOST"
        assert await refused(runner) == "INVALID_REQUEST"


async def test_more_of_a_result_than_was_granted_is_refused(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        call: Any = runner.stub.PushResult()
        await call.write(wire.PushResultRequest(fence=(await runner.assignment()).fence))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # In one message, so that nothing of it can be granted before the rest is there.
            await call.write(wire.PushResultRequest(chunks=[piece(number, bytes(MIB)) for number in range(3)]))
            # A status comes behind the credits that were granted before.
            while await call.read() is not grpc.aio.EOF:
                pass
        # Which code a writer sees depends on whether its own write failed first.
        assert await call.code() is not grpc.StatusCode.OK
        assert len(caller.result(1)) <= PUSH_WINDOW_BYTES
        assert not runner.ended.is_set()


async def test_a_large_result_of_a_small_document_waits_for_memory(tmp_path: Path) -> None:
    async with World(tmp_path / "state", memory_bytes=5 * MIB) as world, world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        assign = await runner.assignment()
        held = world.app.budget.used_bytes
        assert world.app.budget.try_reserve(4 * MIB)
        call: Any = runner.stub.PushResult()
        await call.write(wire.PushResultRequest(fence=assign.fence))
        reading = asyncio.create_task(call.read())
        finished, _ = await asyncio.wait((reading,), timeout=0.2)
        assert not finished
        world.app.budget.release(4 * MIB)
        async with asyncio.timeout(5):
            assert (await reading).credits[-1].total_bytes == PUSH_WINDOW_BYTES
        assert world.app.budget.used_bytes == held + PUSH_WINDOW_BYTES
        await caller.cancel(1)
        await caller.outcome(1)
    assert world.app.budget.used_bytes == 0


async def test_a_runner_that_reads_nothing_harms_only_itself(tmp_path: Path) -> None:
    async with World(tmp_path / "state", max_runs_per_stream=4096, accept_within_s=60.0) as world, calling(world) as caller:
        deaf: Any = FakeRunner(world, hang)
        deaf.call = deaf.stub.Session()
        credit = session_pb2.Credit(pool="default", total_attempts=5000, total_bytes=1 << 40)
        await deaf.say(wire.RunnerItem(hello=deaf.hello), wire.RunnerItem(credit=credit))
        await deaf.call.read()
        # More than a session may queue, all of it assigned.
        tags = range(1, 1200)
        for tag in tags:
            await caller.start_inline(tag, bytes(INLINE_BYTES), max_attempts=5)
        async with world.runner(who=world.issue("other", "runner/other")):
            for tag in tags:
                assert (await caller.outcome(tag)).state == SUCCEEDED
        assert not caller.closed
        await deaf.leave()


async def listed(world: World) -> list[fleet_service_pb2.Runner]:
    stub: Any = fleet_service_pb2_grpc.FleetServiceStub(world.channel())
    answer = await stub.ListRunners(fleet_service_pb2.ListRunnersRequest(), metadata=world.metadata("viewer"), timeout=WITHIN_S)
    return list(answer.runners)


async def test_runners_are_listed_while_connected_and_afterwards(world: World) -> None:
    async with world.runner(labels={"zone": "eu"}):
        (connected,) = await listed(world)
    await world.app.ledger.flush()
    (gone,) = await gone_from(world)
    assert connected.status == fleet_service_pb2.RUNNER_STATUS_CONNECTED
    assert (connected.hostname, connected.pool, list(connected.actions)) == ("testhost", "default", ["test.echo"])
    assert dict(connected.labels) == {"zone": "eu"}
    assert (gone.name, gone.hostname) == (connected.name, "testhost")


async def gone_from(world: World) -> list[fleet_service_pb2.Runner]:
    """List runners once none is connected; a session's end takes the server a moment."""
    async with asyncio.timeout(WITHIN_S):
        while world.app.sessions.by_runner:
            await listed(world)
    return await listed(world)


async def test_actions_are_listed_and_described(world: World) -> None:
    stub: Any = action_service_pb2_grpc.ActionServiceStub(world.channel())
    async with world.runner():
        answer = await stub.ListActions(action_service_pb2.ListActionsRequest(), metadata=world.metadata("viewer"))
        one = await stub.GetAction(action_service_pb2.GetActionRequest(name="actions/test.echo"), metadata=world.metadata("viewer"))
    assert [action.name for action in answer.actions] == ["test.echo"]
    assert one.action == ECHO


async def test_a_schema_that_does_not_compile_refuses_every_parameter(world: World) -> None:
    broken = action_pb2.Action(name="test.broken", persistence=action_pb2.PERSISTENCE_NONE, parameters_schema='{"type": 7}')
    parameters = Struct()
    parameters.update({"a": 1})
    async with world.runner(actions=(broken,)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.inline(b"x", action="test.broken", parameters={"a": 1})
        assert (await world.inline(b"x", action="test.broken")).outcome.state == SUCCEEDED
    assert from_rpc_error(caught.value).reason == "BAD_PARAMETERS"
