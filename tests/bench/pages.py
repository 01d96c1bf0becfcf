"""Send whole files: a process of its own that has a document read, and counts the pages that come back."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path

import grpc
from transom.documents.v1 import document_pb2
from transom_wire.channel import client_options
from transom_wire.credentials import channel_credentials

from bench.callers import ProcessCaller
from bench.child import questions, run, say, tls
from bench.limits.callers import streaming
from bench.limits.road import ENDPOINT
from bench.load import chunked

READ_WITHIN_S = 240.0


def pieces(path: str) -> list[bytes]:
    """Read a file, cut as it is sent."""
    return chunked(Path(path).read_bytes())


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    credentials = channel_credentials(tls(options.state, "client"))
    channel = grpc.aio.secure_channel(f"{ENDPOINT}:{options.port}", credentials, options=client_options())
    caller = ProcessCaller(channel, os.environ["BENCH_TOKEN"], "ocr.auto", media_type="application/pdf", timeout_s=int(READ_WITHIN_S))
    async with channel, streaming(caller):
        say("ready")
        async for question in questions():
            chunks = pieces(question["path"])
            started = time.perf_counter()
            async with asyncio.timeout(READ_WITHIN_S):
                parts = await caller.send(chunks)
            elapsed_s = time.perf_counter() - started
            pages = [document_pb2.Page.FromString(part) for part in parts]
            say("answer", elapsed_s=elapsed_s, pages=len(pages), words=sum(len(page.words) for page in pages))


if __name__ == "__main__":
    run(main())
