"""One unary call through the real server: documents in, results out, and what is refused."""

from __future__ import annotations

import grpc
import pytest
from transom.runs.v1 import run_pb2
from transom_wire.status import from_rpc_error

from server.world import World, hang


async def test_a_document_goes_to_a_runner_and_comes_back(world: World) -> None:
    async with world.runner():
        answer = await world.inline(b"hello", b"world")
    assert answer.outcome.state == run_pb2.RUN_STATE_SUCCEEDED
    assert [part.data for part in answer.parts] == [b"hello", b"world"]
    assert answer.outcome.evidence.processes == 1


async def test_a_document_above_the_inline_limit_is_fetched_and_pushed(world: World) -> None:
    document = bytes(range(256)) * 8192
    async with world.runner():
        answer = await world.inline(document)
    assert b"".join(part.data for part in answer.parts) == document


async def test_an_unknown_action_is_refused(world: World) -> None:
    async with world.runner():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.inline(b"x", action="test.unknown")
    assert from_rpc_error(caught.value).reason == "ACTION_UNKNOWN"


async def test_bad_parameters_name_the_field_and_never_the_value(world: World) -> None:
    async with world.runner():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.inline(b"x", parameters={"times": "SECRET-VALUE"})
    error = from_rpc_error(caught.value)
    assert error.reason == "BAD_PARAMETERS"
    assert error.violations[0][0] == "parameters.times"
    assert "SECRET-VALUE" not in str(caught.value)


async def test_a_run_without_a_runner_ends_at_its_deadline(world: World) -> None:
    settings = run_pb2.RunSpec()
    settings.timeout.FromMilliseconds(200)
    answer = await world.inline(b"x", settings=settings)
    assert answer.outcome.state == run_pb2.RUN_STATE_DEADLINE_EXCEEDED


async def test_a_stricter_containment_than_any_runner_has_waits_for_one(world: World) -> None:
    settings = run_pb2.RunSpec(min_containment=run_pb2.CONTAINMENT_LEVEL_SEALED_HOST)
    settings.timeout.FromMilliseconds(200)
    async with world.runner(hang):
        answer = await world.inline(b"x", settings=settings)
    assert answer.outcome.state == run_pb2.RUN_STATE_DEADLINE_EXCEEDED
