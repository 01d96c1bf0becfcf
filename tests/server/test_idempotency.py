"""A run with an idempotency key is started once: who asks for it again joins it, or is told how it ended."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_server import keys
from transom_server.keys import Keys, Remembered, keyed_of
from transom_wire.errors import RunExists, TransomError
from transom_wire.limits import MIB
from transom_wire.status import from_rpc_error, from_status

from server.caller import Caller, calling, chunk, spec
from server.world import FakeRunner, World, echo, hang, piece

RUNNING, SUCCEEDED, REJECTED = run_pb2.RUN_STATE_RUNNING, run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_REJECTED
KEY = "invoice-7731"
MARKER = "QZX-MARKER-7731"


async def refusal(call: Any) -> TransomError:
    with pytest.raises(Exception, match="StatusCode") as caught:
        await call
    return from_rpc_error(caught.value)  # type: ignore[arg-type]


def keyed(key: str = KEY, **fields: Any) -> run_pb2.RunSpec:
    return run_pb2.RunSpec(idempotency_key=key, **fields)


async def test_two_callers_with_one_key_have_one_run(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as first, calling(world) as second:
        await first.start_inline(1, b"x", idempotency_key=KEY)
        assign = await runner.assignment()
        await first.wait(1, "attempt")
        await second.start_inline(7, b"x", idempotency_key=KEY)
        joined = await second.wait(7, "accepted")
        left = await first.outcome(1)
        await runner.send(assign, piece(0, b"x"))
        await runner.done(assign, parts=1)
        outcome = await second.outcome(7)
        assert runner.assigned.empty()
    assert joined.joined
    assert joined.name == first.of(1, "accepted")[0].name
    assert not first.of(1, "accepted")[0].joined
    assert (left.state, from_status(left.status).reason) == (RUNNING, "RUN_TAKEN_OVER")
    assert [one.attempt for one in second.of(7, "attempt")] == [1]
    assert outcome.state == SUCCEEDED
    assert second.result(7) == b"x"
    assert not first.of(1, "result")


async def test_two_runs_under_one_key_that_come_at_once_are_one(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        starts = [
            run_service_pb2.ProcessItem(
                tag=tag, start=run_service_pb2.StartRun(spec=spec(1, idempotency_key=KEY), inline_documents=[b"x"])
            )
            for tag in (1, 2)
        ]  # fmt: skip
        await caller.say(*starts)
        await runner.assignment()
        await caller.outcome(1)
        await caller.cancel(2)
        await caller.outcome(2)
        assert runner.assigned.empty()
    assert len({caller.of(tag, "accepted")[0].name for tag in (1, 2)}) == 1


async def test_a_caller_that_leaves_after_another_joined_cancels_nothing(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as second:
        async with calling(world) as first:
            await first.start_inline(1, b"x", idempotency_key=KEY)
            assign = await runner.assignment()
            await second.start_inline(1, b"x", idempotency_key=KEY)
            await second.wait(1, "accepted")
            first.call.cancel()
            await first.end()
        await runner.done(assign)
        assert (await second.outcome(1)).state == SUCCEEDED


async def test_a_unary_call_joins_a_stream_s_run_and_a_stream_a_unary_call_s(world: World) -> None:
    sha256 = hashlib.sha256(b"x").digest()
    asked = spec(1, idempotency_key=KEY)
    asked.documents[0].sha256 = sha256
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start(1, asked, [b"x"])
        assign = await runner.assignment()
        unary = asyncio.create_task(world.inline(b"x", settings=keyed()))
        await caller.outcome(1)
        await caller.start(2, asked, [b"x"])
        await caller.wait(2, "accepted")
        assert (await refusal(unary)).reason == "RUN_TAKEN_OVER"
        again = asyncio.create_task(world.inline(b"x", settings=keyed()))
        await caller.outcome(2)
        await runner.send(assign, piece(0, b"x"))
        await runner.done(assign, parts=1)
        answer = await again
        assert runner.assigned.empty()
    assert [part.data for part in answer.parts] == [b"x"]


async def test_a_joiner_takes_over_the_upload_from_the_beginning(world: World) -> None:
    document = bytes(range(256)) * 8192
    fields = {"idempotency_key": KEY, "replay_mode": run_pb2.REPLAY_MODE_CALLER}
    async with world.runner() as runner, calling(world) as first, calling(world) as second:
        await first.start(1, spec(len(document), **fields))
        await first.wait(1, "upload_credit")
        await first.say(chunk(1, 0, document[:300_000]))
        await first.wait(1, "attempt")
        await second.start(1, spec(len(document), **fields))
        number = getattr(await second.wait(1, "replay"), "pass")
        # What the first caller still sends is of no use, and does no harm.
        await first.say(chunk(1, 300_000, document[300_000:400_000]))
        await second.upload(1, document, pass_number=number)
        outcome = await second.outcome(1)
        assert second.result(1) == document
        assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
        assert runner.assigned.qsize() == 1


async def test_a_joiner_is_not_asked_for_documents_that_are_here(world: World) -> None:
    async with world.runner(hang), calling(world) as first, calling(world) as second:
        await first.start(1, spec(200_000, idempotency_key=KEY))
        await first.upload(1, bytes(200_000))
        await first.wait(1, "attempt")
        await second.start(1, spec(200_000, idempotency_key=KEY))
        await second.wait(1, "attempt")
        await second.cancel(1)
        await second.outcome(1)
    assert second.kinds(1) == ["accepted", "attempt", "outcome"]


async def test_inline_documents_finish_an_upload_that_was_begun(world: World) -> None:
    async with world.runner(echo), calling(world) as first, calling(world) as second:
        await first.start(1, spec(6, idempotency_key=KEY))
        await first.wait(1, "upload_credit")
        await first.say(chunk(1, 0, b"abc"))
        await second.start(1, spec(6, idempotency_key=KEY), [b"abcdef"])
        assert (await second.outcome(1)).state == SUCCEEDED
    assert second.result(1) == b"abcdef"


async def test_a_key_with_another_spec_is_refused(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=KEY)
        await runner.assignment()
        await caller.start_inline(2, b"xy", idempotency_key=KEY)
        assert (await caller.failure(2)).reason == "IDEMPOTENCY_KEY_REUSED"
        assert (await refusal(world.inline(b"y", settings=keyed()))).reason == "IDEMPOTENCY_KEY_REUSED"
        assert caller.kinds(1)[-1] != "outcome"


async def test_a_key_whose_run_has_ended_tells_how(world: World) -> None:
    async with world.runner() as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=KEY)
        await caller.outcome(1)
        await caller.start_inline(2, b"x", idempotency_key=KEY)
        outcome = await caller.outcome(2)
        unary = await refusal(world.inline(b"x", settings=keyed()))
        assert runner.assigned.qsize() == 1
    error = from_status(outcome.status)
    assert (outcome.state, error.code.name, error.reason) == (REJECTED, "ALREADY_EXISTS", "RUN_EXISTS")
    assert error.metadata == {"run": caller.of(1, "accepted")[0].name, "state": "SUCCEEDED", "reason": ""}
    assert (unary.reason, unary.metadata) == (error.reason, error.metadata)


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "lost with the server"])
async def test_a_key_is_known_after_a_restart(tmp_path: Path, ended: bool) -> None:
    async with World(tmp_path / "state") as world, world.runner(echo if ended else hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=KEY)
        await runner.assignment()
        await caller.wait(1, "outcome" if ended else "attempt")
        name = caller.of(1, "accepted")[0].name
        if not ended:
            await world.app.ledger.flush()
            with world.app.ledger._engine.begin() as connection:
                connection.execute(text("CREATE TABLE before AS SELECT * FROM runs"))
    if not ended:
        # As the ledger stood when the server was killed.
        world.app.ledger._engine.dispose()
        from transom_server.ledger.book import open_engine

        with open_engine(tmp_path / "state" / "ledger.db").begin() as connection:
            connection.execute(text("DELETE FROM runs"))
            connection.execute(text("INSERT INTO runs SELECT * FROM before"))
    async with World(tmp_path / "state") as world, world.runner() as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=KEY)
        error = await caller.failure(1)
        assert runner.assigned.empty()
    state, reason = ("SUCCEEDED", "") if ended else ("LOST", "SERVER_LOST")
    assert error.metadata == {"run": name, "state": state, "reason": reason}


async def test_another_tenant_s_key_is_another_key(world: World) -> None:
    async with world.runner() as runner, calling(world) as ours, calling(world, tenant="other") as theirs:
        for caller in (ours, theirs):
            await caller.start_inline(1, b"x", idempotency_key=KEY)
            assert (await caller.outcome(1)).state == SUCCEEDED
        assert runner.assigned.qsize() == 2


async def test_a_run_whose_result_has_left_in_part_is_not_joined(world: World) -> None:
    async def half(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.send(assign, piece(0, b"half"))

    async with world.runner(half), calling(world) as first, calling(world) as second:
        await first.start_inline(1, b"x", idempotency_key=KEY)
        await first.wait(1, "result")
        await second.start_inline(1, b"x", idempotency_key=KEY)
        error = await second.failure(1)
        assert first.kinds(1)[-1] == "result"
    assert (error.reason, error.metadata["state"]) == ("RUN_EXISTS", "RUNNING")


async def test_a_run_without_a_key_is_never_joined(world: World) -> None:
    async with world.runner() as runner, calling(world) as caller:
        for tag in (1, 2):
            await caller.start_inline(tag, b"x")
            await caller.outcome(tag)
        assert runner.assigned.qsize() == 2


@pytest.mark.parametrize("key", ["a b", "a\tb", "\u00e4", "x" * 129, "a\n"])
async def test_a_key_is_short_and_has_no_blanks(world: World, key: str) -> None:
    async with world.runner(), calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=key)
        error = await caller.failure(1)
    assert (error.reason, error.violations[0][0]) == ("INVALID_REQUEST", "idempotency_key")


async def test_a_key_is_not_remembered_in_clear(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with world.runner(), calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=MARKER)
        await caller.outcome(1)
        await caller.start_inline(2, b"x", idempotency_key=MARKER)
        await caller.start_inline(3, b"xyz", idempotency_key=MARKER)
        told = [str(await caller.failure(tag)) for tag in (2, 3)]
    await world.app.ledger.flush()
    files = b"".join(path.read_bytes() for path in world.state.glob("ledger.db*"))
    assert hashlib.sha256(f"default\0{MARKER}".encode()).hexdigest().encode() in files
    for held in (files, caplog.text.encode(), "".join(told).encode(), repr(vars(world.app.followings.keys)).encode()):
        assert MARKER.encode() not in held


async def test_a_ledger_that_does_not_answer_lets_no_run_with_a_key_start(world: World) -> None:
    with world.app.ledger._engine.begin() as connection:
        connection.execute(text("ALTER TABLE runs RENAME TO away"))
    async with world.runner() as runner, calling(world) as caller:
        await caller.start_inline(1, b"x", idempotency_key=KEY)
        assert (await caller.failure(1)).reason == "UNAVAILABLE"
        assert runner.assigned.empty()
    with world.app.ledger._engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO runs"))


class Slow:
    """A ledger that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def find_key(self, tenant: str, key_hash: str) -> Remembered | None:
        self.asked.set()
        await self.answer.wait()
        return None


@pytest.fixture
def slow(world: World) -> Slow:
    slow = Slow()
    world.app.followings.keys._memory = slow
    return slow


async def begun(caller: Caller, slow: Slow) -> None:
    await caller.start_inline(1, b"x", idempotency_key=KEY)
    await slow.asked.wait()


async def test_a_run_that_was_given_up_while_its_key_is_looked_for_is_not_started(world: World, slow: Slow) -> None:
    async with world.runner() as runner, calling(world) as caller:
        await begun(caller, slow)
        await caller.cancel(1)
        await caller.start(2, spec(5, action="test.unknown"))
        await caller.outcome(2)
        slow.answer.set()
        assert (await caller.failure(1)).reason == "CANCELLED"
        assert runner.assigned.empty()


async def test_a_half_close_while_a_key_is_looked_for_is_heeded(world: World, slow: Slow) -> None:
    async with world.runner(), calling(world) as caller:
        await caller.start(1, spec(5, idempotency_key=KEY))
        await slow.asked.wait()
        await caller.half_close()
        slow.answer.set()
        assert (await caller.failure(1)).reason == "SIZE_MISMATCH"
        assert await caller.end() is None


async def test_ended_keys_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REMEMBERED", 3)
    known = Keys(Slow())
    for number in range(5):
        one = keyed_of("default", str(number), b"")
        run: Any = type("Ended", (), {"id": str(number), "state": 3, "outcome": None, "key_hash": ""})()
        known.add(one, run)
        known.end(run)
    assert known.find(keyed_of("default", "1", b"")) is None
    with pytest.raises(RunExists):
        known.find(keyed_of("default", "2", b""))
    assert len(known._ended) == 3
    assert known._live == {}


async def test_a_large_result_reaches_a_caller_with_a_key(world: World) -> None:
    document = bytes(5 * MIB)
    async with world.runner(), calling(world) as caller:
        await caller.start(1, spec(len(document), idempotency_key=KEY))
        await caller.grant(1, len(document))
        await caller.upload(1, document)
        assert (await caller.outcome(1)).state == SUCCEEDED
        assert caller.result(1) == document
    assert world.app.budget.used_bytes == 0
    assert len(world.app.followings) == 0
