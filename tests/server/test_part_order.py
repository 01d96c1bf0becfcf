"""The parts of a result keep their order, though small ones ride on the session and large ones are pushed beside it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runs.v1 import run_pb2

from server.caller import calling, spec
from server.site import WITHIN_S
from server.world import World, hang, piece


async def test_a_pushed_part_waits_for_the_parts_before_it(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start_inline(1, b"x")
        assign = await runner.assignment()
        await caller.wait(1, "attempt")
        call: Any = runner.stub.PushResult()
        await call.write(wire.PushResultRequest(fence=assign.fence))
        assert await call.read() is not grpc.aio.EOF
        await call.write(wire.PushResultRequest(chunks=[piece(1, b"second")]))
        await call.done_writing()
        pushed = asyncio.create_task(call.code())
        await runner.send(assign, piece(0, b"first"))
        async with asyncio.timeout(WITHIN_S):
            assert await pushed is grpc.StatusCode.OK
        await runner.done(assign, parts=2)
        await caller.outcome(1)
        assert caller.result(1) == b"firstsecond"


async def test_a_pushed_part_whose_forerunner_never_comes_ends_with_its_run(world: World) -> None:
    async with world.runner(hang) as runner, calling(world) as caller:
        await caller.start(1, spec(1, timeout_s=0.5), [b"x"])
        assign = await runner.assignment()
        call: Any = runner.stub.PushResult()
        await call.write(wire.PushResultRequest(fence=assign.fence))
        await call.write(wire.PushResultRequest(chunks=[piece(7, b"never")]))
        await call.done_writing()
        assert (await caller.outcome(1)).state == run_pb2.RUN_STATE_DEADLINE_EXCEEDED
        with contextlib.suppress(grpc.aio.AioRpcError):
            async with asyncio.timeout(WITHIN_S):
                while await call.read() is not grpc.aio.EOF:
                    pass
        assert caller.result(1) == b""
        assert not runner.ended.is_set()
