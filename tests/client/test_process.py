"""The SDK against a real server: documents go in, parts come back, and what happens when something breaks."""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from server.site import WITHIN_S
from server.world import FakeRunner, World, echo, hang, piece
from transom.documents.v1 import document_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2
from transom_client import (
    Accepted,
    AttemptStarted,
    Client,
    Containment,
    Document,
    Ended,
    Event,
    PageDone,
    PartDone,
    Progress,
    Queued,
    Replay,
    RunState,
)
from transom_wire import media
from transom_wire.errors import DocumentEmpty, InvalidRequest, TokenInvalid, TokenMissing, Unavailable

from client.reach import profile_of

MIB = 1 << 20


def joined(parts: tuple[PartDone, ...], document: int = 0) -> bytes:
    return b"".join(part.data for part in parts if part.document == document)


async def test_a_small_document_comes_back(world: World, client: Client) -> None:
    async with world.runner():
        result = await client.run([b"one", b"two"], action="test.echo")
    assert result.outcome.succeeded
    assert result.run.startswith("runs/")
    assert [joined(result.parts, number) for number in (0, 1)] == [b"one", b"two"]
    assert result.outcome.evidence is not None
    assert result.outcome.evidence.processes == 1


async def test_events_come_in_order_and_the_outcome_is_last(world: World, client: Client) -> None:
    async with world.runner():
        kinds = [type(event) async for event in client.process(b"x", action="test.echo")]
    assert kinds == [Accepted, AttemptStarted, PartDone, Ended]


@pytest.mark.parametrize("kind", ["bytes", "path", "opener"])
async def test_a_document_of_five_mebibytes_comes_back_whatever_its_source(
    world: World, client: Client, tmp_path: Path, kind: str
) -> None:  # fmt: skip
    data = os.urandom(5 * MIB + 17)
    path = tmp_path / "document"
    path.write_bytes(data)
    source: Any = {"bytes": data, "path": path, "opener": lambda: io.BytesIO(data)}[kind]
    async with world.runner():
        result = await client.run(source, action="test.echo")
    assert result.outcome.succeeded
    assert joined(result.parts) == data


async def test_documents_of_several_sizes_are_sent_in_order(world: World, client: Client) -> None:
    documents = [os.urandom(size) for size in (1, 300_000, 262_144, 65_537, 1_000_000)]
    async with world.runner():
        result = await client.run(documents, action="test.echo")
    # The fake runner numbers parts over all documents.
    assert joined(result.parts) == b"".join(documents)


async def test_several_documents_that_ride_with_the_assignment_come_back_each_by_itself(world: World, client: Client) -> None:
    documents = [os.urandom(size) for size in (1, 300_000, 262_144, 65_537)]
    async with world.runner():
        result = await client.run(documents, action="test.echo")
    assert [joined(result.parts, number) for number in range(4)] == documents


async def test_a_result_larger_than_the_window_is_granted_as_it_is_taken(world: World, client: Client) -> None:
    data = os.urandom(10 * MIB)
    async with world.runner(), aclosing(client.process(data, action="test.echo")) as events:
        received = b"".join([event.data async for event in events if isinstance(event, PartDone)])
    assert received == data


async def test_a_part_larger_than_the_window_is_put_together(world: World, client: Client) -> None:
    whole = os.urandom(9 * MIB)

    async def one_part(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await push(runner, assign, whole)
        await runner.done(assign, parts=1)

    async with world.runner(one_part):
        result = await client.run(b"x", action="test.echo")
    assert [part.data for part in result.parts] == [whole]


async def push(runner: FakeRunner, assign: session_pb2.Assign, data: bytes) -> None:
    """Push one part in chunks, heeding credit."""
    call = runner.stub.PushResult()
    await call.write(wire.PushResultRequest(fence=assign.fence))
    room = 0
    for at in range(0, len(data), 262_144):
        chunk = piece(0, data[at : at + 262_144])
        chunk.offset, chunk.last = at, at + 262_144 >= len(data)
        while at + len(chunk.data) > room:
            response = await call.read()
            assert response is not grpc.aio.EOF
            room = response.credits[-1].total_bytes
        await call.write(wire.PushResultRequest(chunks=[chunk]))
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_pages_are_told_as_pages(world: World, client: Client) -> None:
    page = document_pb2.Page(number=2, text="Hello world", engine="test.echo", text_source=document_pb2.TEXT_SOURCE_OCR)
    page.words.add(text="Hello", polygon=[0, 0, 1, 0, 1, 1, 0, 1], confidence=0.5)
    page.words.add(text="world")

    async def one_page(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        chunk = piece(0, page.SerializeToString())
        chunk.media_type, chunk.page = media.PAGE, 2
        progress = session_pb2.AttemptProgress(fence=assign.fence, done=1, total=1)
        await runner.say(wire.RunnerItem(progress=progress))
        await runner.say(wire.RunnerItem(result=session_pb2.AttemptResult(fence=assign.fence, chunks=[chunk])))
        await runner.done(assign, parts=1)

    async with world.runner(one_page):
        events = [event async for event in client.process(b"x", action="test.echo")]
    (done,) = [event for event in events if isinstance(event, PageDone)]
    assert (done.page.number, done.page.text, done.page.mean_confidence) == (2, "Hello world", 0.5)
    assert [word.confidence for word in done.page.words] == [0.5, None]
    assert "Hello" not in repr(done)
    assert [event for event in events if isinstance(event, Progress)] == [Progress(done=1, total=1)]


async def test_many_runs_share_one_stream(world: World, client: Client) -> None:
    documents = [os.urandom(1 + number * 3000) for number in range(60)]
    async with world.runner():
        results = await asyncio.gather(*(client.run(document, action="test.echo") for document in documents))
        stream = await client.connection.stream()
    assert [joined(result.parts) for result in results] == documents
    assert stream.last_tag == len(documents)


async def test_a_lost_runner_is_made_up_for_by_sending_the_documents_again(world: World, client: Client) -> None:
    data = os.urandom(3 * MIB)
    began = asyncio.Event()

    async def read_some(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        call = runner.stub.FetchDocument(wire.FetchDocumentRequest(fence=assign.fence, document=0))
        await call.read()
        began.set()

    async with world.runner(read_some):
        task = asyncio.create_task(collect(client, data, replay=Replay.CALLER))
        async with asyncio.timeout(WITHIN_S):
            await began.wait()
    async with world.runner(echo):
        events = await task
    starts = [event.attempt for event in events if isinstance(event, AttemptStarted)]
    assert starts == [1, 2]
    assert b"".join(event.data for event in events if isinstance(event, PartDone) and event.attempt == 2) == data


async def collect(client: Client, data: bytes, **settings: Any) -> list[Event]:
    return [event async for event in client.process(data, action="test.echo", timeout_s=WITHIN_S, **settings)]


async def test_leaving_the_loop_cancels_the_run_on_its_runner(world: World, client: Client) -> None:
    async with world.runner(hang) as runner:
        async with aclosing(client.process(b"x", action="test.echo")) as events:
            async for event in events:
                if isinstance(event, AttemptStarted):
                    break
        async with asyncio.timeout(WITHIN_S):
            while not (await runner.heard.get()).HasField("cancel"):
                pass
        runs = [run async for run in client.runs.list()]
    assert [run.state for run in runs] == [RunState.CANCELLED]


async def test_a_cancelled_task_cancels_its_run(world: World, client: Client) -> None:
    async with world.runner(hang) as runner:
        task = asyncio.create_task(client.run(b"x", action="test.echo"))
        async with asyncio.timeout(WITHIN_S):
            await runner.assigned.get()
            task.cancel()
            while not (await runner.heard.get()).HasField("cancel"):
                pass
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_run_without_a_runner_waits_and_ends_at_its_deadline(client: Client) -> None:
    events = [event async for event in client.process(b"x", action="test.echo", timeout_s=0.2)]
    assert any(isinstance(event, Queued) for event in events)
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.outcome.state is RunState.DEADLINE_EXCEEDED
    assert ended.outcome.error is not None
    assert ended.outcome.error.reason == "NO_RUNNER"


async def test_a_refused_run_ends_with_the_fields_that_are_wrong(world: World, client: Client) -> None:
    async with world.runner():
        result = await client.run(b"x", action="test.echo", parameters={"times": 0})
    assert result.outcome.state is RunState.REJECTED
    assert result.outcome.error is not None
    assert result.outcome.error.violations[0][0] == "parameters.times"
    with pytest.raises(InvalidRequest):
        result.check()


async def test_an_empty_document_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(DocumentEmpty):
        await client.run(b"", action="test.echo")


async def test_a_document_that_cannot_be_read_is_refused_without_its_name(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await client.run(tmp_path / "SECRET-NAME", action="test.echo")
    assert "SECRET-NAME" not in str(caught.value)


async def test_a_document_that_shrinks_between_reading_and_sending_ends_its_run(world: World, client: Client) -> None:
    sizes = iter((200_000, 100_000))
    async with world.runner():
        with pytest.raises(InvalidRequest) as caught:
            await client.run(Document(source=lambda: io.BytesIO(bytes(next(sizes))), media_type="text/plain"), action="test.echo")
    assert caught.value.reason == "SIZE_MISMATCH"


@pytest.mark.parametrize(("token", "error"), [("", TokenMissing), ("not.a.token", TokenInvalid)])
async def test_a_caller_without_a_good_token_is_refused(world: World, token: str, error: type[Exception]) -> None:
    async with Client(profile_of(world, token)) as client:
        with pytest.raises(error):
            await client.run(b"x", action="test.echo")


async def test_a_server_that_is_away_is_told_at_once(world: World) -> None:
    profile = profile_of(world)
    await world.app.close()
    async with Client(profile) as client:
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(Unavailable):
                await client.run(b"x", action="test.echo")


async def test_a_containment_that_nobody_has_is_waited_for(world: World, client: Client) -> None:
    async with world.runner(containment=run_pb2.CONTAINMENT_LEVEL_LIMITS):
        result = await client.run(b"x", action="test.echo", min_containment=Containment.SEALED_HOST, timeout_s=0.2)
    assert result.outcome.state is RunState.DEADLINE_EXCEEDED


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError):
        _ = Client().runs
