"""Make load: a process of its own that sends documents one way, as many at once and as long as it is asked to."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import grpc
from transom_wire.channel import client_options
from transom_wire.credentials import channel_credentials
from transom_wire.limits import CHUNK_BYTES

from bench.callers import InlineCaller, ProcessCaller
from bench.child import questions, run, say, tls
from bench.limits import road
from bench.limits.callers import BatchCaller, ChunkCaller, ItemCaller, UnaryCaller, streaming
from bench.timing import measure

LIMITS = {"items": ItemCaller, "batches": BatchCaller, "unary": UnaryCaller, "chunks": ChunkCaller}
OURS = {"process": ProcessCaller, "inline": InlineCaller}


def chunked(document: bytes) -> list[bytes]:
    """Cut a document as it is sent; both sides of a comparison send the same pieces."""
    return [document[at : at + CHUNK_BYTES] for at in range(0, len(document), CHUNK_BYTES)]


def caller(options: argparse.Namespace, token: str) -> tuple[grpc.aio.Channel, Any]:
    """Open a channel, and make the caller that the command line names."""
    if options.way in LIMITS:
        channel = road.channel(options.state, options.port, "client")
        return channel, LIMITS[options.way](channel)
    credentials = channel_credentials(tls(options.state, "client"))
    channel = grpc.aio.secure_channel(f"{road.ENDPOINT}:{options.port}", credentials, options=client_options())
    return channel, OURS[options.way](channel, token, options.action)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=(*LIMITS, *OURS))
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--action", default="bench.echo")
    options = parser.parse_args()
    channel, sender = caller(options, os.environ.get("BENCH_TOKEN", ""))
    async with channel, streaming(sender):
        say("ready")
        async for question in questions():
            say("answer", **await measure(sender.send, chunked, **question))


if __name__ == "__main__":
    run(main())
    sys.exit(0)
