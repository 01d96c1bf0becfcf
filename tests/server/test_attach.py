"""A caller whose connection was lost comes back to its run, within the grace, and misses nothing of it."""

from __future__ import annotations

import asyncio
import hmac
import os
from pathlib import Path

import grpc
import pytest
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_wire.errors import TransomError
from transom_wire.limits import KIB, MIB, RESULT_WINDOW_BYTES
from transom_wire.status import from_status

from server.attaching import attach, attaching, confirm, cut, detached, drink, lasting, reached, start
from server.caller import Caller, calling, chunk, spec
from server.world import FakeRunner, World, echo, hang, piece

SUCCEEDED, CANCELLED, RUNNING = run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_CANCELLED, run_pb2.RUN_STATE_RUNNING
LARGE = 10 * MIB


async def test_a_result_that_was_cut_in_the_middle_comes_once_and_whole(world: World) -> None:
    document = os.urandom(LARGE)
    async with world.runner() as runner:
        async with calling(world) as first:
            accepted = await start(first, lasting(LARGE), document)
            await drink(first, 1, 0, 4 * MIB)
            await cut(first)
        follow = await detached(world, accepted)
        got = first.result(1)
        async with attaching(world) as second:
            await attach(second, 5, accepted, len(got))
            again = await second.wait(5, "accepted")
            await drink(second, 5, len(got), LARGE)
            outcome = await second.outcome(5)
            assert follow.kept_bytes <= RESULT_WINDOW_BYTES
            await confirm(second, 5, LARGE, ended=True)
            await reached(lambda: not len(world.app.followings))
        assert runner.assigned.qsize() == 1
    assert (again.joined, again.result_bytes, again.name) == (True, len(got), accepted.name)
    assert got + second.result(5) == document
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert world.app.budget.used_bytes == 0


async def test_what_was_sent_and_not_confirmed_is_sent_again(world: World) -> None:
    document = os.urandom(MIB)
    async with world.runner(), calling(world) as second:
        async with calling(world) as first:
            accepted = await start(first, lasting(MIB), document)
            await first.outcome(1)
            await cut(first)
        await detached(world, accepted)
        # In the middle of a piece: whatever the caller has, it gets the rest.
        await attach(second, 1, accepted, 100_000)
        assert (await second.outcome(1)).state == SUCCEEDED
        assert second.result(1) == document[100_000:]
        assert second.of(1, "result")[0].offset == 100_000


async def test_a_run_goes_on_and_waits_with_its_result_within_the_window(world: World) -> None:
    async with world.runner() as runner:
        async with calling(world) as first:
            accepted = await start(first, lasting(LARGE), bytes(LARGE))
            await first.wait_bytes(1, 1)
            await cut(first)
        follow = await detached(world, accepted)
        assert runner.assigned.qsize() == 1
        # The runner sends as far as its credit reaches, and then waits.
        await reached(lambda: follow.kept_bytes > MIB)
        assert not follow.run.ended
        assert follow.kept_bytes <= RESULT_WINDOW_BYTES <= follow.run.reserved_bytes - LARGE
        async with calling(world) as second:
            await attach(second, 1, accepted, len(first.result(1)))
            await drink(second, 1, len(first.result(1)), LARGE)
            assert (await second.outcome(1)).state == SUCCEEDED


async def test_a_caller_that_confirms_nothing_holds_its_runner_back(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        accepted = await start(caller, lasting(LARGE), bytes(LARGE))
        follow = world.app.followings._follows[accepted.name.removeprefix("runs/")]
        await caller.wait_bytes(1, 7 * 256 * KIB)
        assert follow.run.result_taken == 0
        assert follow.kept_bytes <= RESULT_WINDOW_BYTES
        await drink(caller, 1, 0, LARGE)
        assert (await caller.outcome(1)).state == SUCCEEDED


async def test_an_ended_run_waits_for_its_caller_in_memory_that_is_reserved(world: World) -> None:
    document = os.urandom(50_000)
    async with world.runner(hang) as runner:
        async with calling(world) as first:
            accepted = await start(first, lasting(len(document)), document)
            assign = await runner.assignment()
            await cut(first)
        follow = await detached(world, accepted)
        await runner.send(assign, piece(0, document))
        await runner.done(assign, parts=1)
        await reached(world.app.dispatch.idle.is_set)
        assert world.app.budget.used_bytes == follow.kept_bytes == len(document)
        async with calling(world) as second:
            await attach(second, 1, accepted)
            assert (await second.outcome(1)).state == SUCCEEDED
            assert second.result(1) == document
            assert second.kinds(1) == ["accepted", "attempt", "result", "outcome"]
            await confirm(second, 1, len(document), ended=True)
            await reached(lambda: not len(world.app.followings))
    assert world.app.budget.used_bytes == 0


async def test_an_outcome_that_was_lost_on_its_way_comes_again(world: World) -> None:
    async with world.runner():
        async with calling(world) as first:
            accepted = await start(first, lasting(1), b"x")
            await first.outcome(1)
            await confirm(first, 1, 1)
            await cut(first)
        await detached(world, accepted)
        async with calling(world) as second:
            await attach(second, 1, accepted, 1)
            assert (await second.outcome(1)).state == SUCCEEDED
            assert not second.of(1, "result")


@pytest.mark.parametrize("ended", [False, True], ids=["live", "ended"])
async def test_once_the_grace_is_over_nothing_is_left(tmp_path: Path, ended: bool) -> None:
    async with World(tmp_path / "state") as world, world.runner(echo if ended else hang) as runner, calling(world) as caller:
        accepted = await start(caller, lasting(50_000, grace_s=0.2), bytes(50_000))
        await runner.assignment()
        await caller.wait(1, "outcome" if ended else "attempt")
        await cut(caller)
        await reached(lambda: not len(world.app.followings))
        run = (await world.runs().Get(run_service_pb2.GetRequest(name=accepted.name), metadata=world.metadata())).run
        async with calling(world) as second:
            await attach(second, 1, accepted)
            assert (await second.failure(1)).reason == "RUN_UNKNOWN"
        assert (run.state, run.reason) == ((SUCCEEDED, "") if ended else (CANCELLED, "CANCELLED"))
        assert world.app.budget.used_bytes == 0
        if not ended:
            await runner.hear("cancel")


async def test_an_outcome_that_nobody_confirms_is_kept_for_the_grace_only(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        await start(caller, lasting(50_000, grace_s=0.2), bytes(50_000))
        await caller.outcome(1)
        await reached(lambda: not len(world.app.followings))
    assert world.app.budget.used_bytes == 0


async def test_the_grace_is_capped(tmp_path: Path) -> None:
    async with World(tmp_path / "state", max_detach_grace_s=0.1) as world, world.runner(hang), calling(world) as caller:
        await start(caller, lasting(1, grace_s=300), b"x")
        await caller.wait(1, "attempt")
        await cut(caller)
        await reached(world.app.dispatch.idle.is_set)


async def test_a_grace_of_less_than_nothing_is_refused(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        await caller.start(1, lasting(1, grace_s=-1), [b"x"])
        assert (await caller.failure(1)).violations[0][0] == "detach_grace"


async def test_without_a_grace_a_caller_that_is_gone_cancels(world: World) -> None:
    async with world.runner(hang) as runner:
        async with calling(world) as caller:
            accepted = await start(caller, spec(1, idempotency_key="k"), b"x")
            await caller.wait(1, "attempt")
            await cut(caller)
        await runner.hear("cancel")
        async with calling(world) as second:
            await attach(second, 1, accepted)
            assert (await second.failure(1)).reason == "RUN_UNKNOWN"
    assert not accepted.token


async def refused(caller: Caller, tag: int) -> TransomError:
    outcome = await caller.outcome(tag)
    assert outcome.state == run_pb2.RUN_STATE_REJECTED
    return from_status(outcome.status)


async def test_a_wrong_token_and_another_tenant_are_told_what_an_unknown_run_is_told(world: World) -> None:
    async with world.runner(hang), calling(world) as caller, calling(world, tenant="other") as stranger:
        accepted = await start(caller, lasting(1), b"x")
        keyed = await start_second(caller)
        nobody = run_service_pb2.Accepted(name="runs/0123456789ab", token=accepted.token)
        answers = []
        for tag, (who, run, token) in enumerate(
            [(caller, nobody, None), (caller, accepted, bytes(32)), (caller, accepted, b""), (stranger, accepted, None),
             (caller, keyed, world.app.followings._follows[keyed.name.removeprefix("runs/")].token)], start=10,
        ):  # fmt: skip
            await attach(who, tag, run, token=token)
            answers.append((await who.outcome(tag)).SerializeToString())
        assert len(set(answers)) == 1
        assert (await refused(caller, 10)).reason == "RUN_UNKNOWN"
        # Whoever has the run was not disturbed.
        assert caller.kinds(1)[-1] == "attempt"


async def start_second(caller: Caller) -> run_service_pb2.Accepted:
    """Start a run that has a key and no grace."""
    await caller.start(2, spec(1, idempotency_key="k"), [b"x"])
    await caller.wait(1, "attempt")
    accepted: run_service_pb2.Accepted = await caller.wait(2, "accepted")
    return accepted


async def test_tokens_are_compared_in_constant_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr("transom_server.following.hmac.compare_digest", lambda a, b: compared.append((len(a), b)) or real(a, b))
    async with calling(world) as caller:
        for tag, name in ((1, "runs/0123456789ab"), (2, "runs/ba9876543210")):
            await attach(caller, tag, run_service_pb2.Accepted(name=name, token=bytes(32)))
            await caller.outcome(tag)
    assert compared == [(32, bytes(32))] * 2


async def test_a_second_attach_takes_over_from_the_first(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as first, calling(world) as second:
        accepted = await start(first, lasting(1), b"x")
        assign = await runner.assignment()
        await attach(second, 1, accepted)
        outcome = await first.outcome(1)
        await attach(second, 2, accepted)
        assert (await second.failure(1)).reason == "RUN_TAKEN_OVER"
        # The first one's end is no longer the run's.
        await cut(first)
        await runner.done(assign)
        assert (await second.outcome(2)).state == SUCCEEDED
    assert (outcome.state, from_status(outcome.status).reason) == (RUNNING, "RUN_TAKEN_OVER")


async def test_a_caller_cannot_ask_for_what_it_confirmed_or_what_never_came(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        accepted = await start(caller, lasting(50_000), bytes(50_000))
        await caller.outcome(1)
        await confirm(caller, 1, 50_000)
        await attach(caller, 2, accepted, 60_000)
        assert (await refused(caller, 2)).violations[0][0] == "result_bytes"
        await attach(caller, 3, accepted, 50_000)
        await caller.outcome(3)
        await attach(caller, 4, accepted, 0)
        assert (await refused(caller, 4)).violations[0][0] == "result_bytes"


async def test_an_upload_goes_on_after_a_cut(world: World) -> None:
    document = os.urandom(3 * MIB)
    async with world.runner() as runner, calling(world) as second:
        async with calling(world) as first:
            await first.start(1, lasting(len(document), replay_mode=run_pb2.REPLAY_MODE_CALLER))
            accepted = await first.wait(1, "accepted")
            await first.wait(1, "upload_credit")
            await first.say(chunk(1, 0, document[:400_000]))
            await first.wait(1, "attempt")
            await cut(first)
        await detached(world, accepted)
        await attach(second, 1, accepted)
        number = getattr(await second.wait(1, "replay"), "pass")
        await asyncio.gather(second.upload(1, document, pass_number=number), drink(second, 1, 0, len(document)))
        outcome = await second.outcome(1)
        assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
        assert second.result(1) == document
        assert runner.assigned.qsize() == 1


async def test_parts_of_an_attempt_that_was_lost_while_nobody_listened_are_not_sent(world: World) -> None:
    async def half(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.send(assign, piece(0, b"half"), piece(1, b"more"))

    async with calling(world) as second:
        async with world.runner(half):
            async with calling(world) as first:
                accepted = await start(first, lasting(5), b"whole")
                await first.wait(1, "result")
                await cut(first)
            follow = await detached(world, accepted)
            await reached(lambda: follow._end == 8)
        async with world.runner():
            await reached(lambda: follow.run.ended)
            await attach(second, 1, accepted, 4)
            assert (await second.outcome(1)).state == SUCCEEDED
    assert second.of(1, "accepted")[0].result_bytes == 8
    assert second.result(1) == b"whole"


async def test_a_stream_that_was_half_closed_confirms_what_it_is_sent(world: World) -> None:
    async with world.runner(), calling(world) as caller:
        await start(caller, lasting(LARGE), bytes(LARGE))
        await caller.half_close()
        assert (await caller.outcome(1)).state == SUCCEEDED
        assert len(caller.result(1)) == LARGE
        assert await caller.end() is None
    assert not len(world.app.followings)
    assert world.app.budget.used_bytes == 0


async def test_an_attach_stream_starts_no_run(world: World) -> None:
    async with world.runner() as runner, attaching(world) as caller:
        await caller.start(1, spec(1), [b"x"])
        error = await caller.end()
        assert error is not None
        assert error.reason == "INVALID_REQUEST"
        assert runner.assigned.empty()


async def test_a_unary_call_has_no_grace(world: World) -> None:
    settings = run_pb2.RunSpec()
    settings.detach_grace.FromSeconds(1)
    with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
        await world.inline(b"x", settings=settings)


async def test_a_run_without_grace_or_key_has_no_tie(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        await runner.assignment()
        (run,) = world.app.dispatch.runs.values()
        assert run.following is None
        assert not len(world.app.followings)
