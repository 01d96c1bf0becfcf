"""The road of the limits: mutual TLS with gRPC's own settings, and one writer per stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from transom_wire.credentials import channel_credentials, server_credentials
from transom_wire.limits import ENVELOPE_BYTES, ENVELOPE_ITEMS

from bench.child import tls
from bench.limits.envelope import Envelope

ID_BYTES = 8
ENDPOINT = "127.0.0.1"

Write = Callable[[Any], Awaitable[Any]]


def channel(state: Path, port: int, who: str) -> grpc.aio.Channel:
    """Open a channel on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(f"{ENDPOINT}:{port}", channel_credentials(tls(state, who)), options=options)


def listen(server: grpc.aio.Server, state: Path) -> int:
    """Open the server's port."""
    port: int = server.add_secure_port(f"{ENDPOINT}:0", server_credentials(tls(state, "server")))
    return port


async def write_each(queue: asyncio.Queue[bytes], write: Write) -> None:
    """Write each item as a message of its own."""
    while True:
        await write(await queue.get())


async def write_batches(queue: asyncio.Queue[Any], write: Write) -> None:
    """Write whatever has queued up as one envelope."""
    while True:
        items = [await queue.get()]
        size = len(items[0].data)
        while size < ENVELOPE_BYTES and len(items) < ENVELOPE_ITEMS and not queue.empty():
            items.append(queue.get_nowait())
            size += len(items[-1].data)
        await write(Envelope(items=items))
