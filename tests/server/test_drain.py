"""A server process: how it starts, drains on a signal, and says what is wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import grpc
import pytest
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_wire.status import from_rpc_error

from server.caller import calling
from server.process import command, server_process
from server.site import WITHIN_S
from server.world import FakeRunner, hang, runner_of

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
MARKER = b"QZX-MARKER-7731"


async def outcome_of(*arguments: str) -> tuple[int, str, str]:
    """Run a command to its end; returns exit code, standard output and standard error."""
    process = await command(*arguments)
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_live_run_finishes_while_new_ones_are_refused(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def late(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await go.wait()
        await runner.done(assign, pages=3)

    async with server_process(tmp_path / "state") as server, runner_of(server, late) as runner, calling(server) as caller:
        await caller.start_inline(1, MARKER)
        await caller.wait(1, "attempt")
        server.process.send_signal(signal.SIGTERM)
        await server.event("server.draining")
        await caller.start_inline(2, b"x")
        refused = await caller.failure(2)
        with pytest.raises(grpc.aio.AioRpcError) as inline:
            await server.inline(b"x")
        go.set()
        outcome = await caller.outcome(1)
        await runner.hear("goodbye")
        await caller.half_close()
        code = await server.end()
    assert refused.reason == "SERVER_DRAINING"
    assert from_rpc_error(inline.value).reason == "SERVER_DRAINING"
    assert outcome.state == SUCCEEDED
    assert code == 0
    assert server.lines[-1].count("server.stopped") == 1
    assert MARKER.decode() not in "".join(server.lines)
    with sqlite3.connect(tmp_path / "state" / "ledger.db") as ledger:
        rows = ledger.execute("select action, state, documents, size_bytes, pages from runs").fetchall()
    ledger.close()
    assert rows == [("test.echo", SUCCEEDED, 1, len(MARKER), 3)]


async def test_a_run_that_waits_is_sent_away_when_the_server_drains(tmp_path: Path) -> None:
    async with server_process(tmp_path / "state") as server, calling(server) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "queued")
        server.process.send_signal(signal.SIGTERM)
        error = await caller.failure(1)
        assert await server.end() == 0
    assert error.reason == "SERVER_DRAINING"


async def test_a_run_that_does_not_end_does_not_keep_the_server(tmp_path: Path) -> None:
    async with server_process(tmp_path / "state", settings="drain_s = 0.2") as server, runner_of(server, hang), calling(server) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
    assert any("server.drain_timeout" in line for line in server.lines)


async def test_a_server_that_was_killed_finds_its_unfinished_runs_lost(tmp_path: Path) -> None:
    async with server_process(tmp_path / "state") as server, runner_of(server, hang), calling(server) as caller:
        await caller.start_inline(1, b"x")
        await caller.wait(1, "attempt")
        name = caller.of(1, "accepted")[0].name
        # Reading the ledger writes what was noted before.
        await server.runs().List(run_service_pb2.ListRequest(), metadata=server.metadata())
        server.process.kill()
        await server.process.wait()
    async with server_process(tmp_path / "state") as server:
        found: Any = await server.runs().Get(run_service_pb2.GetRequest(name=name), metadata=server.metadata())
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
    assert found.run.state == run_pb2.RUN_STATE_LOST
    assert found.run.reason == "SERVER_LOST"


async def test_a_second_server_on_the_same_port_says_so_and_exits(tmp_path: Path) -> None:
    async with server_process(tmp_path / "state") as server:
        code, _, err = await outcome_of("run", "--state", str(tmp_path / "state"), "--port", str(server.port))
    assert code == 1
    assert f"error: port {server.port} is taken; choose another with --port" in err.splitlines()
    assert "Traceback" not in err


async def test_the_end_of_standard_input_ends_the_server_where_asked(tmp_path: Path) -> None:
    async with server_process(tmp_path / "state", "--exit-with-parent") as server:
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert await server.end() == 0


async def test_a_state_folder_is_made_once_and_asked_for(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    missing = await outcome_of("run", "--state", state)
    token_missing = await outcome_of("token", "--state", state)
    made = await outcome_of("init", "--state", state)
    again = await outcome_of("init", "--state", state)
    token = await outcome_of("token", "--state", state, "--role", "viewer")
    assert missing[0] == token_missing[0] == again[0] == 2
    assert "transom-server init" in missing[2]
    assert "transom-server init" in token_missing[2]
    assert made == (0, "", "")
    assert token[0] == 0
    assert token[1].count(".") == 2


@pytest.mark.parametrize(
    ("settings", "text"),
    [("no_such_setting = 1", "no_such_setting"), ('max_runs = "QZX-SECRET"', "max_runs"), ("= QZX-SECRET", "not valid TOML")],
)
async def test_a_configuration_that_is_not_valid_names_the_key_and_no_value(tmp_path: Path, settings: str, text: str) -> None:
    config = tmp_path / "server.toml"
    config.write_text(settings)
    code, _, err = await outcome_of("run", "--state", str(tmp_path / "state"), "--config", str(config))
    assert code == 2
    assert text in err
    assert "QZX-SECRET" not in err


async def test_every_line_of_the_log_is_json_with_allowed_fields(tmp_path: Path) -> None:
    async with server_process(tmp_path / "state") as server:
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
    events = [json.loads(line)["event"] for line in server.lines]
    assert events[0] == "server.ready"
    assert events[-1] == "server.stopped"
