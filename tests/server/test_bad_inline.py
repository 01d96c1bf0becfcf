"""What a caller can do wrong with `ProcessInline` and the look-up methods."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from transom.documents.v1 import document_pb2
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_wire import media
from transom_wire.errors import TransomError
from transom_wire.limits import CHUNK_BYTES, MIB, UNARY_BYTES
from transom_wire.status import from_rpc_error, from_status

from server.caller import spec
from server.world import FakeRunner, World, hang

MARKER = b"QZX-MARKER-7731"
SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED


async def refusal(call: Any) -> TransomError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert MARKER.decode() not in str(caught.value)
    return from_rpc_error(caught.value)


async def still_serves(world: World) -> None:
    assert (await world.inline(b"good")).outcome.state == SUCCEEDED


async def test_an_empty_document_is_refused(world: World) -> None:
    async with world.runner():
        assert (await refusal(world.inline(MARKER, b""))).reason == "DOCUMENT_EMPTY"
        await still_serves(world)


async def test_no_document_at_all_is_refused(world: World) -> None:
    async with world.runner():
        assert (await refusal(world.inline())).violations[0][0] == "documents"
        await still_serves(world)


async def test_documents_of_3_mib_are_served_and_of_more_are_refused(world: World) -> None:
    async with world.runner():
        answer = await world.inline(bytes(UNARY_BYTES))
        error = await refusal(world.inline(MARKER, bytes(UNARY_BYTES)))
        await still_serves(world)
    assert sum(len(part.data) for part in answer.parts) == UNARY_BYTES
    assert error.reason == "DOCUMENT_TOO_LARGE"
    assert error.metadata["max_bytes"] == str(UNARY_BYTES)


async def test_a_message_that_the_transport_refuses_names_its_limit(world: World) -> None:
    async with world.runner():
        error = await refusal(world.inline(bytes(5 * MIB)))
        await still_serves(world)
    assert error.code in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL}


async def test_a_result_above_3_mib_is_too_large_for_one_call(world: World) -> None:
    async def flood(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.push(assign, [bytes(CHUNK_BYTES)] * (UNARY_BYTES // CHUNK_BYTES + 1))
        await runner.done(assign)

    async with world.runner(flood) as runner:
        answer = await world.inline(MARKER)
        await runner.hear("cancel")
    async with world.runner():
        await still_serves(world)
    error = from_status(answer.outcome.status)
    assert answer.outcome.state == run_pb2.RUN_STATE_FAILED
    assert error.reason == "RESULT_TOO_LARGE"
    assert "`Process`" in error.message
    assert not answer.parts


async def test_pages_that_cannot_be_read_fail_the_call_and_quote_nothing(world: World) -> None:
    async def lie(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        await runner.send(assign, transfer_pb2.ResultChunk(data=b"\xff" + MARKER, last=True, page=1, media_type=media.PAGE))
        await runner.done(assign, parts=1)

    async with world.runner(lie):
        assert (await refusal(world.inline(b"x"))).reason == "INTERNAL"
    async with world.runner():
        await still_serves(world)


async def test_pages_are_told_in_order_whatever_order_they_came_in(world: World) -> None:
    async def reverse(runner: FakeRunner, assign: session_pb2.Assign) -> None:
        await runner.accept(assign)
        for part, number in enumerate((3, 1, 2)):
            page = document_pb2.Page(number=number, text=f"page {number}").SerializeToString()
            halves = ((0, page[:4], False), (4, page[4:], True))
            await runner.send(
                assign,
                *[
                    transfer_pb2.ResultChunk(part=part, offset=offset, data=data, last=last, page=number, media_type=media.PAGE)
                    for offset, data, last in halves
                ],
            )
        await runner.done(assign, parts=3)

    async with world.runner(reverse):
        answer = await world.inline(b"x")
    assert [one.page.text for one in answer.pages] == ["page 1", "page 2", "page 3"]


async def test_settings_may_not_say_what_the_call_says(world: World) -> None:
    async with world.runner():
        for settings in (spec(1), run_pb2.RunSpec(target=run_pb2.Target(action="test.echo"))):
            assert (await refusal(world.inline(b"x", settings=settings))).violations[0][0] == "settings"
        await still_serves(world)


async def test_a_deadline_in_the_past_is_refused(world: World) -> None:
    settings = run_pb2.RunSpec()
    settings.timeout.FromMilliseconds(-5)
    async with world.runner():
        assert (await refusal(world.inline(b"x", settings=settings))).reason == "DEADLINE_PAST"
        await still_serves(world)


async def test_an_inline_caller_s_own_deadline_ends_the_run(world: World) -> None:
    request = run_service_pb2.ProcessInlineRequest(
        target=run_pb2.Target(action="test.echo"), documents=[run_service_pb2.InlineDocument(media_type="text/plain", data=b"x")]
    )
    async with world.runner(hang) as runner:
        call = world.runs().ProcessInline(request, metadata=world.metadata(), timeout=0.5)
        assert (await refusal(call)).reason == "DEADLINE_EXCEEDED"
        await runner.hear("cancel")


@pytest.mark.parametrize("name", ["", "runs/", "runs/../etc", "other/1", "runs/" + "a" * 65, "runs/1;drop"])
async def test_a_name_that_is_none_is_refused(world: World, name: str) -> None:
    call = world.runs().Get(run_service_pb2.GetRequest(name=name), metadata=world.metadata())
    assert (await refusal(call)).violations == (("name", "must be runs/{run}"),)


@pytest.mark.parametrize("method", ["Get", "Watch", "Cancel"])
async def test_a_run_that_does_not_exist_is_not_found(world: World, method: str) -> None:
    request = {"Get": run_service_pb2.GetRequest, "Watch": run_service_pb2.WatchRequest, "Cancel": run_service_pb2.CancelRequest}[method]
    call = getattr(world.runs(), method)(request(name="runs/abc"), metadata=world.metadata())
    error = await refusal(call.read() if method == "Watch" else call)
    assert error.reason == "RUN_UNKNOWN"


async def test_another_tenant_s_run_is_not_confirmed(world: World) -> None:
    theirs = world.metadata(tenant="other")
    async with world.runner(hang) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        name = f"runs/{(await runner.assignment()).fence.run}"
        assert (await refusal(world.runs().Get(run_service_pb2.GetRequest(name=name), metadata=theirs))).reason == "RUN_UNKNOWN"
        assert (await refusal(world.runs().Cancel(run_service_pb2.CancelRequest(name=name), metadata=theirs))).reason == "RUN_UNKNOWN"
        assert not (await world.runs().List(run_service_pb2.ListRequest(), metadata=theirs)).runs
        cancelled = await world.runs().Cancel(run_service_pb2.CancelRequest(name=name), metadata=world.metadata("operator"))
        answer = await call
    assert cancelled.was_live
    assert answer.outcome.state == run_pb2.RUN_STATE_CANCELLED
    assert answer.name == name


async def test_a_run_is_watched_until_it_ends(world: World) -> None:
    async with world.runner(hang) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        assign = await runner.assignment()
        watch: Any = world.runs().Watch(run_service_pb2.WatchRequest(name=f"runs/{assign.fence.run}"), metadata=world.metadata("viewer"))
        first = await watch.read()
        await runner.done(assign)
        states = await states_of(watch)
        await call
        again: Any = world.runs().Watch(run_service_pb2.WatchRequest(name=f"runs/{assign.fence.run}"), metadata=world.metadata("viewer"))
        assert await states_of(again) == [SUCCEEDED]
    assert first.runs[0].state == run_pb2.RUN_STATE_RUNNING
    assert states[-1] == SUCCEEDED


async def states_of(watch: Any) -> list[int]:
    states: list[int] = []
    while (response := await watch.read()) is not grpc.aio.EOF:
        states += [run.state for run in response.runs]
    return states


async def test_more_live_runs_than_the_server_takes_are_refused(tmp_path: Path) -> None:
    async with World(tmp_path / "state", max_runs=1) as world, world.runner(hang) as runner:
        call = asyncio.create_task(world.inline(b"x"))
        await runner.assignment()
        assert (await refusal(world.inline(b"y"))).reason == "TOO_MANY_RUNS"
        call.cancel()
        await runner.hear("cancel")


async def test_a_document_that_could_never_fit_the_memory_budget_is_refused(tmp_path: Path) -> None:
    async with World(tmp_path / "state", memory_bytes=5 * MIB) as world, world.runner():
        assert (await refusal(world.inline(bytes(2 * MIB)))).reason == "DOCUMENT_TOO_LARGE"
        await still_serves(world)
