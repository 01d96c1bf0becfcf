"""Callers that lose their connection, and come back to their runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from transom.runs.v1 import run_pb2, run_service_pb2, transfer_pb2
from transom_wire.limits import KIB, RESULT_WINDOW_BYTES

from server.caller import Caller, hearing, spec
from server.site import WITHIN_S
from server.world import World


def lasting(*sizes: int, grace_s: float = 60.0, **fields: Any) -> run_pb2.RunSpec:
    asked = spec(*sizes, **fields)
    asked.detach_grace.FromMilliseconds(int(grace_s * 1000))
    return asked


class Attached(Caller):
    """A caller on the stream of `Attach`."""

    async def say(self, *items: run_service_pb2.ProcessItem) -> None:
        await self.call.write(run_service_pb2.AttachRequest(items=items))


@asynccontextmanager
async def attaching(world: World, **claims: Any) -> AsyncIterator[Caller]:
    async with hearing(Attached(world.runs().Attach(metadata=world.metadata(**claims)))) as caller:
        yield caller


async def attach(caller: Caller, tag: int, accepted: run_service_pb2.Accepted, received: int = 0, token: bytes | None = None) -> None:
    asked = run_service_pb2.AttachRun(name=accepted.name, token=accepted.token if token is None else token, result_bytes=received)
    await caller.say(run_service_pb2.ProcessItem(tag=tag, attach=asked))


async def confirm(caller: Caller, tag: int, received: int, *, ended: bool = False) -> None:
    credit = transfer_pb2.ByteCredit(total_bytes=received + RESULT_WINDOW_BYTES, ended=ended)
    await caller.say(run_service_pb2.ProcessItem(tag=tag, result_credit=credit))


async def cut(caller: Caller) -> None:
    """Lose the connection."""
    caller.call.cancel()
    await caller.end()


async def reached(holds: Any) -> None:
    """Wait until what the server does by itself has come about."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - the server is in this loop: each turn lets it go on
            await asyncio.sleep(0)


async def detached(world: World, accepted: run_service_pb2.Accepted) -> Any:
    """Wait until the server knows that the caller is gone; returns the run's tie."""
    follow = world.app.followings._follows[accepted.name.removeprefix("runs/")]
    await reached(lambda: follow._follower is None)
    return follow


async def start(caller: Caller, asked: run_pb2.RunSpec, document: bytes) -> run_service_pb2.Accepted:
    await caller.start(1, asked, [document] if len(document) <= 64 * KIB else [])
    accepted: run_service_pb2.Accepted = await caller.wait(1, "accepted")
    if len(document) > 64 * KIB:
        await caller.upload(1, document)
    return accepted


async def drink(caller: Caller, tag: int, before: int, whole: int) -> None:
    """Take a result, confirming each half MiB, until so many bytes have come in all."""
    seen = before
    while seen < whole:
        await caller.wait_bytes(tag, min(seen + 512 * KIB, whole) - before)
        seen = before + len(caller.result(tag))
        await confirm(caller, tag, seen)
