"""The command line against a real server: what it prints, where, and how it exits."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from server.site import WITHIN_S
from server.world import FakeRunner, World, hang, piece
from transom.documents.v1 import document_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom_wire import media
from transom_wire.errors import PageUnreadable, PluginFailed
from transom_wire.status import to_status

from client.command import started, transom, use

ECHO = ("--action", "test.echo", "--media-type", "text/plain")


@pytest.fixture(autouse=True)
def _profile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_PROFILE", "")
    use(world)


@pytest.fixture
def document(tmp_path: Path) -> str:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"hello")
    return str(path)


async def pages(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    """Answer with one good page, one that failed, and text that would command a terminal."""
    good = document_pb2.Page(
        number=1, width=100, height=50, unit=document_pb2.LENGTH_UNIT_PIXEL, dpi=300, text_source=document_pb2.TEXT_SOURCE_OCR,
        engine="test.echo", text="Dear \x1b[31mSir\nsecond line", elapsed_ms=12.3456,
    )  # fmt: skip
    good.words.add(text="Dear", polygon=[0, 0, 0.5, 0, 0.5, 1, 0, 1], confidence=0.9)
    good.words.add(text="Sir", polygon=[0.5, 0, 1, 0, 1, 1, 0.5, 1], confidence=0.8)
    good.lines.add(first=0, count=2)
    bad = document_pb2.Page(number=2, engine="test.echo", error=to_status(PageUnreadable()))
    await runner.accept(assign)
    for number, page in enumerate((good, bad)):
        chunk = piece(number, page.SerializeToString())
        chunk.media_type, chunk.page = media.PAGE, page.number
        await runner.say(wire.RunnerItem(result=session_pb2.AttemptResult(fence=assign.fence, chunks=[chunk])))
    await runner.done(assign, parts=2, pages=1, pages_failed=1)


async def fail(runner: FakeRunner, assign: session_pb2.Assign) -> None:
    await runner.accept(assign)
    await runner.done(assign, state=4, status=to_status(PluginFailed()))


async def test_the_table_has_a_row_for_each_page(world: World, document: str) -> None:
    async with world.runner(pages):
        ran = await transom("process", document, *ECHO)
    assert ran.code == 0
    header, first, second = ran.out.splitlines()
    assert header.split() == ["document", "page", "engine", "words", "conf", "ms", "text"]
    assert first.split()[1:6] == ["1", "test.echo", "2", "0.85", "12"]
    assert first.endswith("Dear  [31mSir")
    assert "failed: this page cannot be read" in second
    assert "1 pages, 1 failed" in ran.err


async def test_json_is_one_document_a_line_with_keys_that_stay(world: World, document: str) -> None:
    async with world.runner(pages):
        ran = await transom("process", document, *ECHO, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    first, second, outcome = map(json.loads, lines)
    assert lines[0] == json.dumps(first, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert first == {
        "type": "page", "document": 0, "file": document, "page": 1, "attempt": 1, "engine": "test.echo", "source": "OCR",
        "width": 100.0, "height": 50.0, "unit": "PIXEL", "rotation": 0, "dpi": 300, "elapsed_ms": 12.346, "mean_confidence": 0.85,
        "text": "Dear \x1b[31mSir\nsecond line",
        "words": [
            {"text": "Dear", "polygon": [0.0, 0.0, 0.5, 0.0, 0.5, 1.0, 0.0, 1.0], "confidence": 0.9},
            {"text": "Sir", "polygon": [0.5, 0.0, 1.0, 0.0, 1.0, 1.0, 0.5, 1.0], "confidence": 0.8},
        ],
        "lines": [{"first": 0, "count": 2}], "blocks": [], "error": None,
    }  # fmt: skip
    assert second["error"]["reason"] == "PAGE_UNREADABLE"
    assert sorted(second) == sorted(first)
    assert sorted(outcome) == [
        "attempts", "error", "evidence", "pages", "pages_failed", "queued_ms", "run", "running_ms", "side_effects", "state", "total_ms",
        "type",
    ]  # fmt: skip
    assert (outcome["state"], outcome["pages"], outcome["pages_failed"]) == ("SUCCEEDED", 1, 1)
    assert sorted(outcome["evidence"]) == [
        "containment", "cpu_ms", "discarded_output_bytes", "disk_write_blocks", "peak_rss_bytes", "processes",
    ]  # fmt: skip


async def test_text_is_text_alone(world: World, document: str) -> None:
    async with world.runner(pages):
        ran = await transom("process", document, *ECHO, "-o", "text")
    assert ran.out == "Dear  [31mSir\nsecond line\n\f"
    assert "error: this page cannot be read" in ran.err


async def test_a_dash_is_standard_input(world: World) -> None:
    async with world.runner():
        ran = await transom("process", "-", *ECHO, "-o", "json", given=b"from a pipe")
    part = json.loads(ran.out.splitlines()[0])
    assert (part["type"], part["file"], part["data"]) == ("part", "stdin", "ZnJvbSBhIHBpcGU=")


async def test_parameters_are_typed_by_the_schema(world: World, document: str) -> None:
    async with world.runner() as runner:
        ran = await transom("process", document, *ECHO, "--param", "times=3")
        assign = runner.assigned.get_nowait()
    assert ran.code == 0
    assert assign.parameters["times"] == 3


async def test_a_refused_parameter_is_named_and_exits_with_1(world: World, document: str) -> None:
    async with world.runner():
        ran = await transom("process", document, *ECHO, "--param", "times=0")
    assert ran.code == 1
    assert ran.err.startswith("error: a parameter does not fit")
    assert "  parameters.times: " in ran.err
    assert "\nhint: " in ran.err


async def test_a_failed_run_exits_with_1(world: World, document: str) -> None:
    async with world.runner(fail):
        ran = await transom("process", document, *ECHO)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: the plugin failed")


async def test_a_token_that_is_not_accepted_exits_with_3(world: World, document: str) -> None:
    use(world, token="not.a.token")
    ran = await transom("process", document, *ECHO)
    assert ran.code == 3
    assert ran.err == "error: the access token is not accepted\nhint: get a new one\n"


async def test_a_token_without_the_role_exits_with_3(world: World, document: str) -> None:
    use(world, token=world.token("viewer"))
    assert (await transom("process", document, *ECHO)).code == 3
    assert (await transom("runs", "list")).code == 0


async def test_a_server_that_is_away_exits_with_4(world: World, document: str) -> None:
    await world.app.close()
    for arguments in (("process", document, *ECHO), ("runs", "list"), ("doctor",)):
        ran = await transom(*arguments)
        assert ran.code == 4
        assert "Traceback" not in ran.err


async def test_ctrl_c_cancels_the_run_and_exits_with_130(world: World, document: str) -> None:
    async with world.runner(hang) as runner, started("process", document, *ECHO) as process:
        async with asyncio.timeout(3 * WITHIN_S):
            await runner.assigned.get()
            process.send_signal(signal.SIGINT)
            while not (await runner.heard.get()).HasField("cancel"):
                pass
            _, err = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err


async def test_runs_are_listed_shown_and_watched(world: World, document: str) -> None:
    async with world.runner():
        await transom("process", document, *ECHO)
        listed = await transom("runs", "list", "-o", "json")
        run = json.loads(listed.out)
        assert (run["action"], run["state"], run["size_bytes"]) == ("test.echo", "SUCCEEDED", 5)
        shown = await transom("runs", "get", run["name"])
        watched = await transom("runs", "watch", run["name"].removeprefix("runs/"))
        table = await transom("runs", "list", "--state", "succeeded")
        none = await transom("runs", "list", "--state", "failed", "-o", "json")
    assert "state: SUCCEEDED" in shown.out
    assert watched.code == 0
    assert "SUCCEEDED" in watched.out
    assert table.out.splitlines()[0].split()[:3] == ["run", "action", "state"]
    assert none.out == ""


async def test_a_run_is_cancelled_by_its_name(world: World, document: str) -> None:
    async with world.runner(hang) as runner, started("process", document, *ECHO) as process:
        async with asyncio.timeout(3 * WITHIN_S):
            run = (await runner.assigned.get()).fence.run
            cancelled = await transom("runs", "cancel", run)
            _, err = await process.communicate()
    assert cancelled.out == f"{run} cancelled\n"
    assert process.returncode == 1
    assert b"error: the run was cancelled" in err


async def test_a_run_that_is_not_known_exits_with_1(world: World) -> None:
    ran = await transom("runs", "get", "0" * 32)
    assert (ran.code, ran.err) == (1, "error: there is no such run\nhint: see `transom runs list`\n")


async def test_runners_and_actions_are_listed(world: World) -> None:
    async with world.runner():
        table = await transom("runners", "list")
        runner = json.loads((await transom("runners", "list", "-o", "json")).out)
        actions = await transom("actions", "list")
        described = await transom("actions", "describe", "test.echo")
    assert table.out.splitlines()[1].split()[:5] == ["testhost", "CONNECTED", "default", "test.echo", "LIMITS"]
    assert sorted(runner) == [
        "actions", "containment", "hostname", "labels", "last_seen_time", "name", "pool", "running", "software", "status"
    ]  # fmt: skip
    assert "Echo documents." in actions.out
    assert "  times: integer, minimum 1" in described.out


async def test_the_doctor_says_what_to_do_next(world: World) -> None:
    alone = await transom("doctor")
    async with world.runner():
        helped = await transom("doctor")
    use(world, token="not.a.token")
    refused = await transom("doctor")
    assert (alone.code, helped.code, refused.code) == (1, 1, 3)
    assert "failed no runner is connected" in alone.out
    assert "failed no runner offers ocr.auto" in helped.out
    assert "next:  get a new one" in refused.out
