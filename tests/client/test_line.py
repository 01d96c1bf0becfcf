"""One run on a stream: how its result comes together, and when more of it is granted."""

from __future__ import annotations

import asyncio

import pytest
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_client import AttemptStarted, Ended, PartDone, Progress
from transom_client.line import Broken, Line
from transom_wire import media
from transom_wire.errors import Internal, Unavailable
from transom_wire.limits import MIB, RESULT_WINDOW_BYTES

Event = run_service_pb2.ProcessEvent


class Said(list[run_service_pb2.ProcessItem]):
    def __call__(self, item: run_service_pb2.ProcessItem, size_bytes: int) -> None:
        self.append(item)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def line(said: Said) -> Line:
    return Line(7, said)


def chunk(data: bytes, *, part: int = 0, offset: int = 0, last: bool = True, attempt: int = 1, media_type: str = media.BYTES) -> Event:
    return Event(
        result=transfer_pb2.ResultChunk(part=part, offset=offset, data=data, last=last, attempt=attempt, media_type=media_type)
    )  # fmt: skip


def attempt(number: int) -> Event:
    return Event(attempt=run_service_pb2.AttemptStarted(attempt=number, runner="r"))


async def test_chunks_of_several_parts_may_be_interleaved(line: Line) -> None:
    for event in (chunk(b"a", last=False), chunk(b"x", part=1, last=False), chunk(b"b", offset=1), chunk(b"y", part=1, offset=1)):
        line.hear(event)
    taken = [await line.take(), await line.take()]
    assert [event.data for event in taken if isinstance(event, PartDone)] == [b"ab", b"xy"]


async def test_parts_of_an_earlier_attempt_are_void(line: Line) -> None:
    for event in (attempt(1), chunk(b"old"), chunk(b"half", part=1, last=False), attempt(2), chunk(b"late", part=2)):
        line.hear(event)
    line.hear(chunk(b"new", attempt=2))
    taken = [await line.take() for _ in range(3)]
    assert [event.data for event in taken if isinstance(event, PartDone)] == [b"new"]
    assert [event.attempt for event in taken if isinstance(event, AttemptStarted)] == [1, 2]


async def test_a_gap_in_a_part_ends_the_run(line: Line) -> None:
    line.hear(chunk(b"a", last=False))
    line.hear(chunk(b"b", offset=2))
    with pytest.raises(Internal):
        await line.take()


async def test_a_page_that_cannot_be_read_ends_the_run(line: Line) -> None:
    line.hear(chunk(b"\xff\xff", media_type=media.PAGE))
    with pytest.raises(Internal):
        await line.take()


async def test_more_is_granted_only_once_parts_are_taken(line: Line, said: Said) -> None:
    for part in range(4):
        line.hear(chunk(bytes(MIB), part=part))
    assert said == []
    await line.take()
    (item,) = said
    assert (item.tag, item.result_credit.total_bytes) == (7, RESULT_WINDOW_BYTES + MIB)


async def test_bytes_of_a_void_attempt_are_granted_again(line: Line, said: Said) -> None:
    line.hear(attempt(1))
    for part in range(4):
        line.hear(chunk(bytes(MIB), part=part))
    line.hear(attempt(2))
    assert said[-1].result_credit.total_bytes == RESULT_WINDOW_BYTES + 4 * MIB


async def test_only_the_latest_progress_waits_for_a_slow_caller(line: Line) -> None:
    for done in range(1, 100):
        line.hear(Event(progress=run_service_pb2.Progress(done=done, total=99)))
    line.hear(Event(outcome=run_pb2.Outcome(state=run_pb2.RUN_STATE_SUCCEEDED)))
    assert await line.take() == Progress(done=99, total=99)
    assert isinstance(await line.take(), Ended)


async def test_what_was_heard_before_a_break_is_taken_first(line: Line) -> None:
    line.hear(chunk(b"a"))
    line.fail(Broken(Unavailable()))
    assert isinstance(await line.take(), PartDone)
    with pytest.raises(Broken):
        await line.take()


async def test_upload_credit_is_a_total_of_its_pass(line: Line) -> None:
    line.hear(Event(upload_credit=transfer_pb2.ByteCredit(total_bytes=10)))
    line.hear(Event(upload_credit=transfer_pb2.ByteCredit(total_bytes=4)))
    assert await line.upload_room(0, 3) == 7
    line.hear(Event(replay=run_service_pb2.ReplayRequest(**{"pass": 1})))
    assert await line.upload_room(0, 3) == 0
    waiting = asyncio.create_task(line.upload_room(1, 0))
    line.hear(Event(upload_credit=transfer_pb2.ByteCredit(total_bytes=99, **{"pass": 0})))
    line.hear(Event(upload_credit=transfer_pb2.ByteCredit(total_bytes=5, **{"pass": 1})))
    assert await waiting == 5
