"""The runner of the limits: it hashes what comes, once, and sends it back."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from pathlib import Path
from typing import Any

import grpc

from bench.child import run, say, until_end_of_input
from bench.limits.envelope import Envelope, packed
from bench.limits.road import ID_BYTES, channel


async def echo_items(stream: Any) -> None:
    """Answer R."""
    async for item in stream:
        hashlib.sha256(memoryview(item)[ID_BYTES:]).digest()
        await stream.write(item)


async def echo_batches(stream: Any) -> None:
    """Answer RB: a batch goes back as it came."""
    async for batch in stream:
        for item in batch.items:
            hashlib.sha256(item.data).digest()
        await stream.write(batch)


async def echo_documents(told: Any, bulk: grpc.aio.Channel) -> None:
    """Answer the chunked relay: one stream for each document, several at once."""
    open_document: Any = bulk.stream_stream("/limit/RunnerChunks")
    async with asyncio.TaskGroup() as group:
        async for number in told:
            group.create_task(_echo_document(open_document(metadata=(("document-bin", number),))))


async def _echo_document(stream: Any) -> None:
    digest = hashlib.sha256()
    async for chunk in stream:
        if not chunk:
            break
        digest.update(chunk)
        await stream.write(chunk)
    await stream.done_writing()
    async for _ in stream:
        pass


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    async with channel(options.state, options.port, "runner") as control, channel(options.state, options.port, "runner") as bulk:
        items: Any = control.stream_stream("/limit/RunnerItems")()
        batches: Any = control.stream_stream("/limit/RunnerBatches", packed, Envelope.FromString)()
        told: Any = control.unary_stream("/limit/RunnerDocuments")(b"")  # type: ignore[arg-type]
        for stream in (items, batches, told):
            await stream.wait_for_connection()
        say("ready")
        await until_end_of_input(echo_items(items), echo_batches(batches), echo_documents(told, bulk))
        for stream in (items, batches, told):
            stream.cancel()


if __name__ == "__main__":
    run(main())
