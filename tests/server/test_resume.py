"""What a runner's session leaves behind when it breaks, and what the next one may take over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2

from server.caller import Caller, calling
from server.site import WITHIN_S
from server.test_sessions import gone_from, refused
from server.world import FakeRunner, World, echo, hang, piece, runner_of, silent

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
LOST = run_pb2.RUN_STATE_LOST
POSSIBLE = run_pb2.SIDE_EFFECTS_POSSIBLE


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server whose grace no test outlives."""
    async with World(tmp_path / "state", resume_grace_s=600.0, accept_within_s=60.0) as world:
        yield world


@pytest.fixture
async def caller(world: World) -> AsyncIterator[Caller]:
    async with calling(world) as caller:
        yield caller


def in_flight(*assigns: session_pb2.Assign) -> list[session_pb2.InFlight]:
    return [session_pb2.InFlight(fence=assign.fence) for assign in assigns]


async def hold(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Accept, and say nothing more in this session."""
    await runner.accept(assign)
    await runner.ended.wait()


async def given(world: World, caller: Caller, *tags: int, behave: Any = hold) -> tuple[bytes, list[session_pb2.Assign]]:
    """Let a runner accept runs, and break its session; returns its token and what it was assigned."""
    async with world.runner(behave) as runner:
        welcome = await runner.hear("welcome")
        assigns = []
        for tag in tags:
            await caller.start_inline(tag, b"x")
            await caller.wait(tag, "attempt")
            assigns.append(await runner.assignment())
    await gone_from(world)
    return welcome.resume_token, assigns


async def finish(runner: FakeRunner, assign: session_pb2.Assign, data: bytes = b"right") -> None:
    await runner.send(assign, piece(0, data))
    await runner.done(assign, parts=1)


async def test_an_attempt_goes_on_in_the_next_session(world: World, caller: Caller) -> None:
    token, [assign] = await given(world, caller, 1)
    async with world.runner(silent, resume_token=token, in_flight=in_flight(assign)) as again:
        welcome = await again.hear("welcome")
        await finish(again, assign)
        outcome = await caller.outcome(1)
        await again.hear("release")
        assert again.assigned.empty()
    assert (welcome.resumed, list(welcome.keep), list(welcome.abandon)) == (True, [assign.fence], [])
    assert welcome.resumed_ack == 3  # Hello, credit, reply
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert caller.result(1) == b"right"


async def test_a_session_takes_over_from_one_that_has_not_ended_yet(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        token = (await runner.hear("welcome")).resume_token
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        assign = await runner.assignment()
        async with world.runner(hang, resume_token=token, in_flight=in_flight(assign)) as again:
            async with asyncio.timeout(WITHIN_S):
                await runner.ended.wait()
            await finish(again, assign)
            outcome = await caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)


async def test_what_the_next_session_does_not_list_is_lost(world: World, caller: Caller) -> None:
    token, assigns = await given(world, caller, 1, 2)
    async with world.runner(echo, resume_token=token, in_flight=in_flight(assigns[1])) as again:
        first = await caller.outcome(1)
        await finish(again, assigns[1])
        second = await caller.outcome(2)
    assert (first.state, len(first.attempts)) == (SUCCEEDED, 2)
    assert (second.state, len(second.attempts)) == (SUCCEEDED, 1)


@pytest.mark.parametrize(
    "wrong", [{"resume_token": b""}, {"resume_token": bytes(16)}, {"boot_id": b"another"}], ids=["no token", "wrong token", "other start"]
)
async def test_nothing_is_kept_for_whoever_does_not_hold_the_session(world: World, caller: Caller, wrong: dict[str, bytes]) -> None:
    token, [assign] = await given(world, caller, 1)
    hello: dict[str, Any] = {"resume_token": token, **wrong}
    async with world.runner(echo, in_flight=in_flight(assign), **hello) as again:
        welcome = await again.hear("welcome")
        outcome = await caller.outcome(1)
    assert (welcome.resumed, list(welcome.keep), list(welcome.abandon)) == (False, [], [assign.fence])
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)


async def test_another_runner_cannot_take_a_session_over(world: World, caller: Caller) -> None:
    token, [assign] = await given(world, caller, 1)
    other = world.issue("other", "runner/other")
    async with world.runner(silent, who=other, resume_token=token, in_flight=in_flight(assign)) as thief:
        assert not (await thief.hear("welcome")).resumed
        await finish(thief, assign, b"forged")
        await thief.say(wire.RunnerItem(drain=session_pb2.RunnerDrain()))
        await thief.hear("barrier")
    async with world.runner(silent, resume_token=token, in_flight=in_flight(assign)) as owner:
        await finish(owner, assign)
        await caller.outcome(1)
    assert caller.result(1) == b"right"


async def test_a_session_takes_over_nothing_of_another_runner_s(world: World, caller: Caller) -> None:
    token, _ = await given(world, caller, 1)
    other = world.issue("other", "runner/other")
    async with world.runner(hang, who=other) as owner:
        await caller.start_inline(2, b"y")
        await caller.wait(2, "attempt")
        assign = await owner.assignment()
        async with world.runner(silent, attempts=0, resume_token=token, in_flight=in_flight(assign)) as thief:
            welcome = await thief.hear("welcome")
        assert (welcome.resumed, list(welcome.abandon)) == (True, [assign.fence])
        await finish(owner, assign)
        assert (await caller.outcome(2)).state == SUCCEEDED


async def test_a_runner_that_drained_and_left_is_not_waited_for(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        await caller.start_inline(1, b"x", max_attempts=1)
        await caller.wait(1, "attempt")
        await runner.say(wire.RunnerItem(drain=session_pb2.RunnerDrain()))
        await runner.hear("barrier")
        await runner.call.done_writing()
        assert (await caller.failure(1)).reason == "RUNNER_LOST"


async def test_a_token_is_good_for_one_session(world: World, caller: Caller) -> None:
    token, [assign] = await given(world, caller, 1)
    async with world.runner(silent, resume_token=token, in_flight=in_flight(assign)) as again:
        second = (await again.hear("welcome")).resume_token
        again.ack = 1
        await again.say(wire.RunnerItem(drain=session_pb2.RunnerDrain()))
        await again.hear("barrier")
    assert second != token
    await gone_from(world)
    async with world.runner(echo, resume_token=token, in_flight=in_flight(assign)) as third:
        assert not (await third.hear("welcome")).resumed


async def test_a_runner_that_never_heard_its_welcome_comes_again_with_the_token_it_has(world: World, caller: Caller) -> None:
    token, [assign] = await given(world, caller, 1)
    async with world.runner(silent, resume_token=token, in_flight=in_flight(assign)):
        pass
    await gone_from(world)
    async with world.runner(silent, resume_token=token, in_flight=in_flight(assign)) as third:
        welcome = await third.hear("welcome")
        await finish(third, assign)
        outcome = await caller.outcome(1)
    assert (welcome.resumed, welcome.resumed_ack) == (True, 3)
    assert len(outcome.attempts) == 1


async def test_after_the_grace_an_attempt_is_lost(tmp_path: Path) -> None:
    async with World(tmp_path / "state", resume_grace_s=0.2) as world, calling(world) as caller:
        token, [assign] = await given(world, caller, 1)
        async with world.runner(echo, who=world.issue("other", "runner/other")):
            outcome = await caller.outcome(1)
        async with world.runner(silent, resume_token=token, in_flight=in_flight(assign)) as late:
            welcome = await late.hear("welcome")
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)
    assert (welcome.resumed, list(welcome.abandon)) == (False, [assign.fence])


async def test_what_was_cancelled_meanwhile_is_abandoned(world: World, caller: Caller) -> None:
    token, assigns = await given(world, caller, 1, 2)
    await caller.cancel(1)
    await caller.outcome(1)
    async with world.runner(silent, resume_token=token, in_flight=in_flight(*assigns)) as again:
        welcome = await again.hear("welcome")
    assert (list(welcome.keep), list(welcome.abandon)) == ([assigns[1].fence], [assigns[0].fence])


async def test_what_was_not_accepted_is_assigned_again_at_once(world: World, caller: Caller) -> None:
    async with world.runner(silent) as runner:
        await caller.start_inline(1, b"x")
        await runner.assignment()
    async with world.runner(echo, who=world.issue("other", "runner/other")):
        assert (await caller.outcome(1)).state == SUCCEEDED


async def test_an_end_that_is_told_twice_is_one_outcome(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        await caller.start_inline(1, b"x")
        assign = await runner.assignment()
        await finish(runner, assign)
        await runner.done(assign, parts=1, state=run_pb2.RUN_STATE_FAILED)
        await caller.start_inline(2, b"y")
        # What the runner said before its answer to this has been acted on, and told.
        await caller.wait(2, "attempt")
        assert not runner.ended.is_set()
    assert [outcome.state for outcome in caller.of(1, "outcome")] == [SUCCEEDED]


async def test_an_attempt_whose_runner_says_that_it_is_lost_is_tried_again(world: World, caller: Caller) -> None:
    async def lose_first(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        if assign.fence.attempt > 1:
            await echo(runner, assign)
            return
        await runner.accept(assign)
        await runner.done(assign, state=LOST)

    async with world.runner(lose_first) as runner:
        await caller.start_inline(1, b"x")
        outcome = await caller.outcome(1)
        await runner.hear("release")
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)


async def test_a_runner_that_broke_the_rules_does_not_come_back(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        await caller.start_inline(1, b"x", max_attempts=1)
        await caller.wait(1, "attempt")
        await runner.say(wire.RunnerItem(hello=runner.hello))
        assert (await caller.failure(1)).reason == "RUNNER_LOST"


async def test_two_daemons_with_one_certificate_are_both_refused(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        clone = FakeRunner(world, hang, boot_id=b"clone")
        clone.call = clone.stub.Session()
        await clone.say(wire.RunnerItem(hello=clone.hello))
        assert await refused(clone) == "SESSION_CLONED"
        assert await refused(runner) == "SESSION_CLONED"
        await clone.leave()
    await gone_from(world)
    async with runner_of(world, echo, boot_id=b"clone"):
        await caller.start_inline(1, b"x")
        assert (await caller.outcome(1)).state == SUCCEEDED


async def test_a_second_hello_ends_the_session(world: World) -> None:
    async with world.runner(hang) as runner:
        await runner.say(wire.RunnerItem(hello=runner.hello))
        assert await refused(runner) == "INVALID_REQUEST"


async def test_a_second_hello_in_the_first_envelope_leaves_no_session(world: World) -> None:
    runner = FakeRunner(world, hang)
    runner.call = runner.stub.Session()
    hello = wire.RunnerItem(hello=runner.hello)
    await runner.say(hello, hello)
    assert await refused(runner) == "INVALID_REQUEST"
    await runner.leave()
    await gone_from(world)


@pytest.mark.parametrize(
    ("sequence", "ack"), [(1, 0), (2, 0), (4, 0), (3, 99)], ids=["repeats", "goes back", "jumps", "acknowledges too much"]
)
async def test_numbers_that_cannot_be_end_the_session(world: World, sequence: int, ack: int) -> None:
    async with world.runner(hang) as runner:
        beat = wire.RunnerItem(heartbeat=session_pb2.Heartbeat())
        await runner.call.write(wire.SessionRequest(sequence=sequence, ack=ack, items=[beat]))
        assert await refused(runner) == "INVALID_REQUEST"


async def test_a_first_envelope_that_is_not_the_first_is_refused(world: World) -> None:
    runner = FakeRunner(world, hang)
    runner.call = runner.stub.Session()
    await runner.call.write(wire.SessionRequest(sequence=2, items=[wire.RunnerItem(hello=runner.hello)]))
    assert await refused(runner) == "INVALID_REQUEST"
    await runner.leave()


async def test_an_effect_that_may_come_is_acknowledged_at_once(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        await caller.start_inline(1, b"x")
        assign = await runner.assignment()
        await caller.wait(1, "attempt")
        await runner.say(wire.RunnerItem(progress=session_pb2.AttemptProgress(fence=assign.fence, side_effects=POSSIBLE)))
        await runner.hear_ack(runner.said)


async def test_an_effect_of_an_attempt_that_is_not_wanted_is_revoked_before_it_is_acknowledged(world: World, caller: Caller) -> None:
    async with world.runner(hang) as runner:
        await caller.start_inline(1, b"x")
        assign = await runner.assignment()
        await caller.wait(1, "attempt")
        await caller.cancel(1)
        await caller.outcome(1)
        await runner.say(wire.RunnerItem(progress=session_pb2.AttemptProgress(fence=assign.fence, side_effects=POSSIBLE)))
        revoke = await runner.hear("revoke")
    assert revoke.fence == assign.fence


async def test_an_old_session_is_asked_to_go_and_is_given_nothing_more(tmp_path: Path) -> None:
    aged = World(tmp_path / "state", max_session_age_s=0.1, heartbeat_every_s=0.1, dead_after_s=WITHIN_S, resume_grace_s=600.0)
    async with aged as world, calling(world) as caller, world.runner(hang) as runner:
        token = (await runner.hear("welcome")).resume_token
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        assign = await runner.assignment()
        assert (await runner.hear("goodbye")).spread.ToMilliseconds() == 1000
        await caller.start_inline(2, b"y")
        await caller.wait(2, "queued")
        assert runner.assigned.empty()
        async with world.runner(echo, resume_token=token, in_flight=in_flight(assign)) as again:
            await finish(again, assign)
            outcomes = [await caller.outcome(tag) for tag in (1, 2)]
    assert [(outcome.state, len(outcome.attempts)) for outcome in outcomes] == [(SUCCEEDED, 1)] * 2


async def test_an_old_session_that_does_not_go_is_ended(tmp_path: Path) -> None:
    aged = World(tmp_path / "state", max_session_age_s=0.1, heartbeat_every_s=0.1, dead_after_s=600.0)
    async with aged as world, world.runner(hang) as runner, asyncio.timeout(WITHIN_S):
        await runner.ended.wait()
