"""No byte of a document stays: not in the ledger's files, not in a log, on any way that a run can end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2
from transom_wire.errors import PluginFailed
from transom_wire.limits import MIB
from transom_wire.logs import AllowListFormatter
from transom_wire.status import to_status

from server.caller import calling, chunk, spec
from server.world import FakeRunner, World, hang, piece

MARKER = b"QZX-MARKER-7731"
FORMS = (MARKER, MARKER.hex().encode(), MARKER.decode().encode("utf-16-le"), MARKER[::-1])


class Lines(logging.Handler):
    """Every record, as our formatter writes it and as any other would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text += [AllowListFormatter().format(record), logging.Formatter().format(record), repr(record.__dict__)]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def nothing_stayed(world: World, lines: Lines) -> None:
    """Look at every file of the state folder while the server runs, and at every line of the log."""
    await world.app.ledger.flush()
    files = [path for path in world.state.rglob("*") if path.is_file()]
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm"} <= {path.name for path in files}
    for path in files:
        assert not any(form in path.read_bytes() for form in FORMS), path.name
        assert MARKER.decode() not in path.name
    assert not any(form.decode() in line for form in (MARKER, FORMS[1]) for line in lines.text)
    assert world.app.budget.used_bytes == 0


async def test_a_success_leaves_nothing(world: World, lines: Lines) -> None:
    async with world.runner():
        answer = await world.inline(MARKER * 10)
        async with calling(world) as caller:
            await caller.start(1, spec(MIB))
            await caller.upload(1, MARKER * (MIB // len(MARKER)) + bytes(MIB % len(MARKER)))
            await caller.outcome(1)
    assert MARKER in answer.parts[0].data
    assert MARKER in caller.result(1)
    await nothing_stayed(world, lines)


async def test_a_failure_leaves_nothing_even_if_the_runner_quotes_the_document(world: World, lines: Lines) -> None:
    async def quote(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.send(assign, piece(0, MARKER))
        text = MARKER.decode()
        known = to_status(PluginFailed(text, metadata={"text": text}, violations=[(text, text)]))
        unknown = status_pb2.Status(code=13, message=text)
        await runner.done(assign, state=run_pb2.RUN_STATE_FAILED, status=known if assign.documents[0].size_bytes % 2 else unknown)

    async with world.runner(quote):
        for size in (1, 2):
            answer = await world.inline(MARKER[:size])
            assert answer.outcome.state == run_pb2.RUN_STATE_FAILED
    await nothing_stayed(world, lines)


async def test_bad_parameters_and_bad_input_leave_nothing(world: World, lines: Lines) -> None:
    text = MARKER.decode()
    async with world.runner(), calling(world) as caller:
        for more in ({"parameters": {"times": text}}, {"parameters": {text: 1}}, {"action": text}, {"media_type": text}):
            with pytest.raises(grpc.aio.AioRpcError):
                await world.inline(MARKER, **more)
        await caller.start(1, spec(MIB))
        await caller.wait(1, "upload_credit")
        await caller.say(chunk(1, 0, MARKER), chunk(1, 5, MARKER))
        assert (await caller.failure(1)).reason == "CHUNK_OUT_OF_ORDER"
    await nothing_stayed(world, lines)


async def test_a_cancel_and_a_lost_runner_leave_nothing(world: World, lines: Lines) -> None:
    async with calling(world) as caller:
        async with world.runner(hang):
            await caller.start_inline(1, MARKER)
            await caller.start_inline(2, MARKER, max_attempts=1)
            await caller.wait(1, "attempt")
            await caller.wait(2, "attempt")
            await caller.cancel(1)
            await caller.outcome(1)
        await caller.outcome(2)
    await nothing_stayed(world, lines)


async def test_a_crash_inside_the_server_says_neither_what_nor_why(world: World, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise ValueError(f"the document is {MARKER.decode()}")

    monkeypatch.setattr(world.app.intake, "start", crash)
    async with world.runner():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.inline(MARKER)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert MARKER.decode() not in str(caught.value)
    assert any('"reason": "ValueError"' in line for line in lines.text)
    await nothing_stayed(world, lines)


async def test_values_that_hold_content_do_not_show_it(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, MARKER)
        await runner.assignment()
        (run,) = world.app.dispatch.runs.values()
        assert run.payload.whole() == [MARKER]
        assert MARKER.decode() not in f"{run!r} {run!s} {run.payload!r}"


def test_a_marker_that_was_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "leak").write_bytes(b"..." + MARKER.hex().encode())
    assert any(form in (tmp_path / "leak").read_bytes() for form in FORMS)
