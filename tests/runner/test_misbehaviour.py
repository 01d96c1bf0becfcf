"""Whatever a plugin does, its run alone ends badly, with a reason, and the next document is served at once."""

from __future__ import annotations

import os
import select
from collections.abc import AsyncIterator

import pytest
from server.world import World
from transom.runs.v1 import run_pb2, run_service_pb2
from transom_wire.status import reason_of

MARKER = b"MARKER-4711-of-the-document"


@pytest.fixture
async def serves_on(site: World) -> AsyncIterator[World]:
    """After the test, the same runner must still do honest work."""
    yield site
    answer = await site.inline(MARKER, action="naughty.echo")
    assert answer.parts[0].data == MARKER


async def outcome(site: World, action: str, timeout_ms: int = 20_000) -> run_service_pb2.ProcessInlineResponse:
    settings = run_pb2.RunSpec()
    settings.timeout.FromMilliseconds(timeout_ms)
    answer: run_service_pb2.ProcessInlineResponse = await site.inline(MARKER, action=action, settings=settings)
    assert MARKER.decode() not in str(answer.outcome)
    return answer


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("naughty.fail", "PLUGIN_FAILED"),
        ("naughty.crash", "CRASHED"),
        ("naughty.quit", "CRASHED"),
        ("naughty.hoard", "OUT_OF_MEMORY"),
        ("naughty.spin", "TIMED_OUT"),
    ],
)
async def test_a_plugin_that_fails_is_told_by_its_reason(serves_on: World, action: str, reason: str) -> None:
    answer = await outcome(serves_on, action)
    assert answer.outcome.state == run_pb2.RUN_STATE_FAILED
    assert reason_of(answer.outcome.status) == reason
    assert answer.outcome.evidence.processes == 1


async def test_a_plugin_that_hangs_is_killed_at_the_deadline(serves_on: World) -> None:
    answer = await outcome(serves_on, "naughty.hang", timeout_ms=500)
    assert answer.outcome.state == run_pb2.RUN_STATE_DEADLINE_EXCEEDED


async def test_what_a_plugin_prints_is_counted_and_dropped(serves_on: World) -> None:
    answer = await outcome(serves_on, "naughty.say")
    assert answer.outcome.state == run_pb2.RUN_STATE_SUCCEEDED
    assert answer.outcome.evidence.discarded_output_bytes == 2 * (len(MARKER) + 1)


async def test_a_plugin_cannot_write_a_file(serves_on: World) -> None:
    answer = await outcome(serves_on, "naughty.keep")
    assert answer.parts[0].data == b"OSError 0"


async def test_a_process_that_a_plugin_leaves_behind_dies_with_its_worker(serves_on: World) -> None:
    answer = await outcome(serves_on, "naughty.child")
    try:
        left = os.pidfd_open(int(answer.parts[0].data))
    except ProcessLookupError:
        return
    # A killed process lingers until its new parent has looked.
    ended = select.poll()
    ended.register(left, select.POLLIN)
    assert ended.poll(5_000)
    os.close(left)


async def test_a_failed_page_does_not_spoil_the_others(serves_on: World) -> None:
    answer = await outcome(serves_on, "naughty.pages")
    assert answer.outcome.state == run_pb2.RUN_STATE_SUCCEEDED
    assert (answer.outcome.pages, answer.outcome.pages_failed) == (1, 1)
    assert [reason_of(one.page.error) for one in answer.pages] == ["", "PAGE_UNREADABLE"]
