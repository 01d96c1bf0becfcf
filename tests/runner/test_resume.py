"""A real runner whose connection breaks: its attempts go on, and end once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from server.caller import Caller, calling, spec
from server.site import WITHIN_S
from server.world import World
from transom.runs.v1 import run_pb2
from transom_runner.app import App
from transom_runner.template import Process
from transom_wire.limits import MIB

from runner.relay import Relay, relaying
from runner.workshop import running

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED


class Scene:
    """A server, a relay, a runner behind it, and a caller."""

    def __init__(self, world: World, relay: Relay, app: App, caller: Caller) -> None:
        self.world, self.relay, self.app, self.caller = world, relay, app, caller

    def worker(self) -> Process:
        [process] = self.app._templates["naughty"]._processes.values()
        return process

    async def waiting(self) -> Process:
        """Start a run whose worker waits to be woken."""
        await self.caller.start_inline(1, b"x", action="naughty.wait")
        await self.caller.wait(1, "progress")
        return self.worker()


@asynccontextmanager
async def scene(tmp_path: Path, **settings: Any) -> AsyncIterator[Scene]:
    given = {"resume_grace_s": 600.0, "accept_within_s": 60.0, **settings}
    async with (
        World(tmp_path / "state", **given) as world,
        relaying(world.port) as relay,
        running(world, endpoint=f"localhost:{relay.port}") as app,
        calling(world) as caller,
    ):
        yield Scene(world, relay, app, caller)


async def test_a_cut_in_the_middle_of_an_attempt_costs_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        worker = await here.waiting()
        connections = here.relay.connections
        here.relay.cut()
        await here.relay.until("connections", connections + 1)
        os.kill(worker.pid, signal.SIGUSR1)
        outcome = await here.caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert here.caller.result(1) == b"x by %d" % worker.pid


async def test_what_ends_while_there_is_no_session_is_told_by_the_next(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        worker = await here.waiting()
        await here.relay.close()
        os.kill(worker.pid, signal.SIGUSR1)
        async with asyncio.timeout(WITHIN_S):
            await worker.exited.wait()
        await here.relay.open()
        outcome = await here.caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert here.caller.result(1) == b"x by %d" % worker.pid


async def test_a_result_that_was_lost_on_its_way_is_told_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        worker = await here.waiting()
        here.relay.lose("up")
        os.kill(worker.pid, signal.SIGUSR1)
        await here.relay.until("lost_bytes", 1)
        async with asyncio.timeout(WITHIN_S):
            await worker.exited.wait()
        here.relay.cut()
        outcome = await here.caller.outcome(1)
        await here.caller.start_inline(2, b"y", action="naughty.echo")
        await here.caller.outcome(2)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert here.caller.kinds(1).count("outcome") == 1
    assert here.caller.result(1) == b"x by %d" % worker.pid


async def test_a_result_whose_receipt_was_lost_is_told_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        worker = await here.waiting()
        here.relay.lose("down")
        os.kill(worker.pid, signal.SIGUSR1)
        outcome = await here.caller.outcome(1)
        await here.relay.until("lost_bytes", 1)
        here.relay.cut()
        await here.caller.start_inline(2, b"y", action="naughty.echo")
        assert (await here.caller.outcome(2)).state == SUCCEEDED
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert here.caller.kinds(1).count("outcome") == 1
    assert here.caller.result(1) == b"x by %d" % worker.pid


async def test_what_the_server_had_processed_is_not_told_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.caller.start_inline(1, b"x", b"y", action="naughty.wait")
        await here.caller.wait(1, "progress")
        worker = here.worker()
        here.relay.lose("down")
        os.kill(worker.pid, signal.SIGUSR1)
        await here.caller.wait(1, "result")
        here.relay.cut()
        os.kill(worker.pid, signal.SIGUSR1)
        outcome = await here.caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert here.caller.result(1) == b"x by %d" % worker.pid + b"y by %d" % worker.pid


async def test_a_transfer_that_broke_loses_its_attempt_alone(tmp_path: Path) -> None:
    document = os.urandom(2 * MIB)
    async with scene(tmp_path) as here:
        worker = await here.waiting()
        await here.caller.start(2, spec(len(document), action="naughty.echo"))
        begun = here.relay.down_bytes
        half = asyncio.create_task(here.caller.upload(2, document[:MIB]))
        await here.relay.until("down_bytes", begun + MIB // 2)
        here.relay.cut()
        await half
        await here.caller.upload(2, document, sent=MIB)
        outcome = await here.caller.outcome(2)
        os.kill(worker.pid, signal.SIGUSR1)
        other = await here.caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)
    assert here.caller.result(2) == document
    assert (other.state, len(other.attempts)) == (SUCCEEDED, 1)


async def test_a_result_that_broke_on_its_way_loses_its_attempt(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.caller.start_inline(1, b"x", action="naughty.flood")
        # Without more credit the rest waits in the runner.
        await here.caller.wait(1, "result")
        here.relay.cut()
        await here.caller.wait(1, "attempt", 2)
        await here.caller.grant(1, 64 * MIB)
        outcome = await here.caller.outcome(1)
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)
    assert here.caller.result(1) == bytes(8 * MIB)


async def test_what_the_server_no_longer_wants_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "transom_runner")
    async with scene(tmp_path) as here:
        worker = await here.waiting()
        await here.relay.close()
        await here.caller.cancel(1)
        await here.caller.outcome(1)
        await here.relay.open()
        async with asyncio.timeout(WITHIN_S):
            await worker.exited.wait()
    assert "attempt.abandoned" in caplog.messages


async def test_without_a_session_within_the_grace_everything_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "transom_runner")
    async with scene(tmp_path, resume_grace_s=0.3) as here:
        worker = await here.waiting()
        await here.relay.close()
        async with asyncio.timeout(WITHIN_S):
            await worker.exited.wait()
        await here.relay.open()
        again = await here.caller.wait(1, "progress", 2)
        os.kill(here.worker().pid, signal.SIGUSR1)
        outcome = await here.caller.outcome(1)
    assert again
    assert "attempt.orphaned" in caplog.messages
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)


async def test_a_session_that_grows_old_is_replaced_before_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "transom_server")
    async with scene(tmp_path, max_session_age_s=1.0, heartbeat_every_s=0.2, dead_after_s=WITHIN_S) as here:
        worker = await here.waiting()
        connections = here.relay.connections
        await here.relay.until("connections", connections + 1)
        os.kill(worker.pid, signal.SIGUSR1)
        outcome = await here.caller.outcome(1)
    seen = [event for event in caplog.messages if event in {"session.opened", "session.closed", "session.broken"}]
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 1)
    assert seen[:2] == ["session.opened", "session.opened"]
    assert "session.broken" not in seen


async def test_what_cannot_be_undone_waits_for_the_server_to_know(tmp_path: Path) -> None:
    async with scene(tmp_path, heartbeat_every_s=100.0, dead_after_s=200.0) as here:
        await here.caller.start_inline(1, b"x", action="naughty.act")
        assert (await here.caller.outcome(1)).state == SUCCEEDED
        here.relay.lose("up")
        await here.caller.start_inline(2, b"y", action="naughty.act")
        await here.relay.until("lost_bytes", 1)
        worker = here.worker()
        gone = asyncio.create_task(worker.exited.wait())
        finished, _ = await asyncio.wait((gone,), timeout=0.5)
        assert not finished
        here.relay.cut()
        outcome = await here.caller.outcome(2)
        await gone
    assert (outcome.state, len(outcome.attempts)) == (SUCCEEDED, 2)
    assert worker.reason == "CANCELLED"
