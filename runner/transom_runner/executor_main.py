"""Be an executor: hold one attempt's documents, walk its flow, and end.

It reads no document itself: parsing and decoding happen in workers.
"""

from __future__ import annotations

import asyncio
import socket

from transom_runner import flows, sandbox
from transom_runner.assembly import Assembly, DocumentBroken
from transom_runner.flow import CallFailed, Flow, Workers
from transom_runner.frames import Begin, Channel, Finished, FrameBroken, Head


def serve(sockets: list[socket.socket]) -> None:
    """Walk the flow that the first frame names."""
    sandbox.name("transom-executor")
    asyncio.run(_attempt(sockets[0], sockets[1]))


async def _attempt(data: socket.socket, control: socket.socket) -> None:
    channel = await Channel.over(data)
    try:
        begin, _ = await channel.receive()
        if isinstance(begin, Begin):
            await channel.send(Finished(await _walk(begin, channel, Workers(control))))
    except FrameBroken:
        return


async def _walk(begin: Begin, channel: Channel, workers: Workers) -> str:
    try:
        documents = [(head, await _document(head, channel)) for head in begin.documents]
        await flows.BY_NAME[begin.action].walk(Flow(begin, documents, workers, channel))
    except (CallFailed, DocumentBroken) as error:
        return error.reason
    except MemoryError:
        return "OUT_OF_MEMORY"
    return ""


async def _document(head: Head, channel: Channel) -> memoryview:
    assembly = Assembly(head)
    while not assembly.complete:
        assembly.add(*await channel.receive())
    assembly.check()
    return assembly.whole()
