"""The relay server of the limits: what callers send goes to the one runner, what it sends goes back. Nothing else.

R is `CallerItems` with `RunnerItems`, a message for each item and bytes as they are; RB is `CallerBatches` with
`RunnerBatches`. `CallerUnary` is a unary call over R's runner stream; `CallerChunks` with `RunnerChunks` relays one
document for each call, chunk by chunk, through queues of four.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc

from bench.child import end_of_input, run, say
from bench.limits.envelope import Envelope, Item, packed
from bench.limits.road import ID_BYTES, listen, write_batches, write_each

Context = grpc.aio.ServicerContext[Any, Any]
QUEUED_CHUNKS = 4


class Relay:
    """Everything that is on its way."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[bytes] = asyncio.Queue()
        self._batches: asyncio.Queue[Any] = asyncio.Queue()
        self._documents: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting: dict[bytes, Callable[[Any], None]] = {}
        self._open: dict[bytes, tuple[asyncio.Queue[bytes], asyncio.Queue[bytes]]] = {}
        self._numbers = itertools.count()

    def _number(self) -> bytes:
        # Callers' own ids begin at zero: these never meet them.
        return b"\xff" + next(self._numbers).to_bytes(ID_BYTES - 1, "big")

    async def caller_items(self, requests: AsyncIterator[bytes], context: Context) -> None:
        back: asyncio.Queue[bytes] = asyncio.Queue()
        writer = asyncio.create_task(write_each(back, context.write))
        try:
            async for item in requests:
                self._waiting[item[:ID_BYTES]] = back.put_nowait
                self._items.put_nowait(item)
        finally:
            writer.cancel()

    async def caller_unary(self, request: bytes, context: Context) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        number = self._number()
        self._waiting[number] = answer.set_result
        self._items.put_nowait(number + request)
        return (await answer)[ID_BYTES:]

    async def runner_items(self, requests: AsyncIterator[bytes], context: Context) -> None:
        writer = asyncio.create_task(write_each(self._items, context.write))
        try:
            async for item in requests:
                self._waiting.pop(item[:ID_BYTES])(item)
        finally:
            writer.cancel()

    async def caller_batches(self, requests: AsyncIterator[Any], context: Context) -> None:
        back: asyncio.Queue[Any] = asyncio.Queue()
        writer = asyncio.create_task(write_batches(back, context.write))
        try:
            async for batch in requests:
                for item in batch.items:
                    number = self._number()
                    self._waiting[number] = _answering(item.id, back)
                    self._batches.put_nowait(Item(id=number, data=item.data))
        finally:
            writer.cancel()

    async def runner_batches(self, requests: AsyncIterator[Any], context: Context) -> None:
        writer = asyncio.create_task(write_batches(self._batches, context.write))
        try:
            async for batch in requests:
                for item in batch.items:
                    self._waiting.pop(item.id)(item.data)
        finally:
            writer.cancel()

    async def caller_chunks(self, requests: AsyncIterator[bytes], context: Context) -> None:
        number = self._number()
        up: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_CHUNKS)
        down: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_CHUNKS)
        self._open[number] = up, down
        self._documents.put_nowait(number)
        reader = asyncio.create_task(_read(requests, up))
        while chunk := await down.get():
            await context.write(chunk)
        await reader

    async def runner_documents(self, _: bytes, context: Context) -> None:
        await context.send_initial_metadata(())
        await write_each(self._documents, context.write)

    async def runner_chunks(self, requests: AsyncIterator[bytes], context: Context) -> None:
        metadata: dict[str, Any] = dict(context.invocation_metadata() or ())
        up, down = self._open.pop(metadata["document-bin"])
        writer = asyncio.create_task(_write(up, context))
        await _read(requests, down)
        await writer


def _answering(number: bytes, back: asyncio.Queue[Any]) -> Callable[[bytes], None]:
    return lambda data: back.put_nowait(Item(id=number, data=data))


async def _read(requests: AsyncIterator[bytes], queue: asyncio.Queue[bytes]) -> None:
    async for chunk in requests:
        await queue.put(chunk)
    await queue.put(b"")


async def _write(queue: asyncio.Queue[bytes], context: Context) -> None:
    while chunk := await queue.get():
        await context.write(chunk)
    # An empty message ends the document.
    await context.write(b"")


def methods(relay: Relay) -> dict[str, Any]:
    """List the relay's methods. Without serializers, bytes pass as they are."""
    stream = grpc.stream_stream_rpc_method_handler
    return {
        "CallerItems": stream(relay.caller_items),
        "RunnerItems": stream(relay.runner_items),
        "CallerBatches": stream(relay.caller_batches, Envelope.FromString, packed),
        "RunnerBatches": stream(relay.runner_batches, Envelope.FromString, packed),
        "CallerUnary": grpc.unary_unary_rpc_method_handler(relay.caller_unary),
        "CallerChunks": stream(relay.caller_chunks),
        "RunnerDocuments": grpc.unary_stream_rpc_method_handler(relay.runner_documents),
        "RunnerChunks": stream(relay.runner_chunks),
    }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("limit", methods(Relay())),))
    port = listen(server, options.state)
    await server.start()
    say("ready", port=port)
    await end_of_input()
    await server.stop(None)


if __name__ == "__main__":
    run(main())
