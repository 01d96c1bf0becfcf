"""What becomes of a run whose runner is lost, deaf, unwilling or superseded."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2
from transom_wire.limits import MIB
from transom_wire.status import from_rpc_error

from server.caller import Caller, calling, spec
from server.site import WITHIN_S
from server.world import ECHO, FakeRunner, World, echo, hang, piece, refuse, silent

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
LOST = run_pb2.RUN_STATE_LOST
FAILED = run_pb2.RUN_STATE_FAILED
POSSIBLE = run_pb2.SIDE_EFFECTS_POSSIBLE


ONCE = action_pb2.Action()
ONCE.CopyFrom(ECHO)
ONCE.idempotent = False


async def take(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Accept, read every document, and never end."""
    await runner.accept(assign)
    for number in range(len(assign.documents)):
        await runner.fetch(assign, number)
    await progress(runner, assign, done=1)


async def progress(runner: FakeRunner, assign: session_pb2.Assign, **fields: Any) -> None:
    fields.setdefault("side_effects", run_pb2.SIDE_EFFECTS_NONE)
    await runner.say(wire.RunnerItem(progress=session_pb2.AttemptProgress(fence=assign.fence, **fields)))


async def test_a_lost_runner_is_replaced_without_the_caller_s_help(world: World) -> None:
    document = bytes(2 * MIB)
    async with calling(world) as caller:
        async with world.runner(take):
            await caller.start(1, spec(len(document)))
            await caller.upload(1, document)
            await caller.wait(1, "progress")
        async with world.runner():
            outcome = await caller.outcome(1)
    assert outcome.state == SUCCEEDED
    assert [one.state for one in outcome.attempts] == [LOST, SUCCEEDED]
    assert outcome.attempts[0].reason == "RUNNER_LOST"
    assert [one.attempt for one in caller.of(1, "attempt")] == [1, 2]
    assert not caller.of(1, "replay")
    assert caller.result(1) == document


async def test_parts_of_a_lost_attempt_are_void(world: World) -> None:
    async def half(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.send(assign, piece(0, b"half"))

    async with calling(world) as caller:
        async with world.runner(half):
            await caller.start_inline(1, b"whole")
            await caller.wait(1, "result")
        async with world.runner():
            await caller.outcome(1)
    assert [chunk.attempt for chunk in caller.of(1, "result")] == [1, 2]
    assert caller.result(1) == b"whole"


async def test_an_inline_answer_holds_the_last_attempt_s_parts_only(world: World) -> None:
    sent = asyncio.Event()

    async def half(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.send(assign, piece(0, b"half"))
        await progress(runner, assign, done=1)
        sent.set()

    async with world.runner(half) as first:
        call = asyncio.create_task(world.inline(b"whole"))
        await first.assignment()
        await sent.wait()
    async with world.runner():
        answer = await call
    assert [part.data for part in answer.parts] == [b"whole"]


async def relayed(caller: Caller, document: bytes) -> None:
    await caller.start(1, spec(len(document), replay_mode=run_pb2.REPLAY_MODE_CALLER))
    await caller.upload(1, document)
    await caller.wait(1, "progress")


async def test_a_caller_that_replays_is_asked_to_send_again(world: World) -> None:
    document = bytes(range(256)) * 8192
    async with calling(world) as caller:
        async with world.runner(take):
            await relayed(caller, document)
        replay = await caller.wait(1, "replay")
        assert getattr(replay, "pass") == 1
        # What is still under way of the first sending does no harm.
        await caller.upload(1, document[:1000], pass_number=0)
        async with world.runner():
            await caller.upload(1, document, pass_number=1)
            outcome = await caller.outcome(1)
    assert outcome.state == SUCCEEDED
    assert len(outcome.attempts) == 2
    assert caller.result(1) == document


async def test_a_caller_that_half_closed_cannot_replay(world: World) -> None:
    async with calling(world) as caller:
        async with world.runner(take):
            await relayed(caller, bytes(2 * MIB))
            await half_close_and_wait(caller)
        outcome = await caller.outcome(1)
        assert await caller.end() is None
    assert outcome.state == LOST
    assert not caller.of(1, "replay")


async def half_close_and_wait(caller: Caller) -> None:
    """Half-close, and wait until the server knows: a run without its bytes fails then."""
    await caller.start(99, spec(10, action="test.echo"))
    await caller.wait(99, "upload_credit")
    await caller.half_close()
    assert (await caller.failure(99)).reason == "SIZE_MISMATCH"


async def test_a_half_close_amid_a_relayed_document_fails_the_run(world: World) -> None:
    async with world.runner(take), calling(world) as caller:
        await caller.start(1, spec(2 * MIB, replay_mode=run_pb2.REPLAY_MODE_CALLER))
        await caller.wait(1, "attempt")
        await caller.half_close()
        assert (await caller.failure(1)).reason == "SIZE_MISMATCH"


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_a_run_without_replay_ends_with_its_runner(world: World, size: int) -> None:
    async with calling(world) as caller, world.runner(hang, attempts=0):
        async with world.runner(take, who=world.issue("other", "runner/other")):
            await caller.start(1, spec(size, replay_mode=run_pb2.REPLAY_MODE_NONE))
            await caller.upload(1, bytes(size))
            await caller.wait(1, "progress")
        outcome = await caller.outcome(1)
        error = await caller.failure(1)
    assert outcome.state == LOST
    assert error.reason == "RUNNER_LOST"
    assert len(outcome.attempts) == 1


async def test_a_run_without_replay_is_not_tried_again_even_if_its_bytes_are_here(world: World) -> None:
    async with calling(world) as caller:
        async with world.runner(hang):
            await caller.start_inline(1, b"x", replay_mode=run_pb2.REPLAY_MODE_NONE)
            await caller.wait(1, "attempt")
        assert (await caller.outcome(1)).state == LOST


@pytest.mark.parametrize("said", [POSSIBLE, run_pb2.SIDE_EFFECTS_UNSPECIFIED, 99], ids=["possible", "nothing", "unheard of"])
async def test_a_run_that_may_have_had_an_effect_is_not_tried_again(world: World, said: Any) -> None:
    async def act(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await progress(runner, assign, side_effects=said, done=1)

    async with calling(world) as caller, world.runner(hang, attempts=0, actions=(ONCE,)):
        async with world.runner(act, who=world.issue("other", "runner/other"), actions=(ONCE,)):
            await caller.start_inline(1, b"x")
            await caller.wait(1, "progress")
        outcome = await caller.outcome(1)
        error = await caller.failure(1)
    assert (outcome.state, outcome.side_effects, error.reason) == (LOST, POSSIBLE, "RUN_LOST")
    assert len(outcome.attempts) == 1


async def test_a_possible_effect_is_never_unsaid(world: World) -> None:
    async def act(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await progress(runner, assign, side_effects=POSSIBLE)
        await progress(runner, assign, done=1)

    async with calling(world) as caller:
        async with world.runner(act, actions=(ONCE,)):
            await caller.start_inline(1, b"x")
            await caller.wait(1, "progress")
        assert (await caller.failure(1)).reason == "RUN_LOST"


async def test_a_run_of_an_idempotent_action_is_tried_again_whatever_it_did(world: World) -> None:
    async def act(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await progress(runner, assign, side_effects=POSSIBLE, done=1)

    async with calling(world) as caller:
        async with world.runner(act):
            await caller.start_inline(1, b"x")
            await caller.wait(1, "progress")
        async with world.runner():
            outcome = await caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)


async def test_attempts_are_bounded(world: World) -> None:
    async with calling(world) as caller:
        await caller.start_inline(1, b"x", max_attempts=2)
        for number in (1, 2):
            async with world.runner(hang):
                await caller.wait(1, "attempt", number)
        outcome = await caller.outcome(1)
    assert outcome.state == LOST
    assert len(outcome.attempts) == 2


async def test_an_unanswered_attempt_is_revoked_and_given_to_another(tmp_path: Any) -> None:
    async with World(tmp_path / "state", accept_within_s=0.1) as world, world.runner(silent, attempts=100) as deaf:
        # The deaf runner has the most credit, and must not be given the run again because of it.
        async with world.runner(who=world.issue("other", "runner/other"), attempts=5), calling(world) as caller:
            await caller.start_inline(1, b"x")
            outcome = await caller.outcome(1)
        revoke = await deaf.hear("revoke")
        assign = await deaf.assignment()
        assert deaf.assigned.empty()
    assert revoke.fence == assign.fence
    assert outcome.state == SUCCEEDED
    assert [one.state for one in outcome.attempts] == [run_pb2.RUN_STATE_REJECTED, SUCCEEDED]


async def test_refused_attempts_are_bounded(world: World) -> None:
    async with world.runner(refuse), calling(world) as caller:
        await caller.start_inline(1, b"x")
        outcome = await caller.outcome(1)
        error = await caller.failure(1)
    assert outcome.state == FAILED
    assert error.reason == "RUNNER_REFUSED"
    assert len(outcome.attempts) == 8


async def test_a_stale_fence_is_ignored(tmp_path: Any) -> None:
    async with World(tmp_path / "state", accept_within_s=0.1) as world, world.runner(silent, attempts=1) as old, calling(world) as caller:
        await caller.start_inline(1, b"right")
        stale = await old.assignment()
        await old.hear("revoke")
        await old.accept(stale)
        await old.send(stale, piece(0, b"wrong"))
        await old.done(stale, state=FAILED)
        with pytest.raises(grpc.aio.AioRpcError) as fetched:
            await old.fetch(stale, 0)
        with pytest.raises(grpc.aio.AioRpcError) as pushed:
            await old.push(stale, [b"wrong"])
        async with world.runner(who=world.issue("other", "runner/other")):
            outcome = await caller.outcome(1)
        assert not old.ended.is_set()
    assert from_rpc_error(fetched.value).reason == "RUN_UNKNOWN"
    assert from_rpc_error(pushed.value).reason == "RUN_UNKNOWN"
    assert outcome.state == SUCCEEDED
    assert caller.result(1) == b"right"


async def test_a_guessed_fence_is_ignored(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        assign = await runner.assignment()
        guessed = session_pb2.Assign(fence=session_pb2.Fence(run=assign.fence.run, attempt=1, token=assign.fence.token ^ 1))
        await runner.done(guessed)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await runner.fetch(guessed, 0)
        assert not caller.of(1, "outcome")
    assert from_rpc_error(caught.value).reason == "RUN_UNKNOWN"


async def test_a_newer_session_of_a_runner_supersedes_the_older(world: World) -> None:
    async with world.runner(hang) as old, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        async with world.runner(echo) as new:
            outcome = await caller.outcome(1)
            async with asyncio.timeout(WITHIN_S):
                await old.ended.wait()
            assert not new.ended.is_set()
            assert (await world.inline(b"y")).outcome.state == SUCCEEDED
    assert outcome.state == SUCCEEDED
    assert len(outcome.attempts) == 2


async def test_a_deadline_ends_a_running_attempt(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", timeout_s=0.2)
        assert (await caller.failure(1)).reason == "DEADLINE_EXCEEDED"
        await runner.hear("cancel")
        assert 0 < (await runner.assignment()).time_left.ToMilliseconds() <= 200
