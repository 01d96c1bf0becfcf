"""The actor as a Dramatiq user writes it, and who calls it; runs in the environment of the peers."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import dramatiq
import msgpack
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.timing import SEND_WITHIN_S, Send

THREADS = 16
KEPT_MS = 5000
"""Ten minutes is the default: results of 1 MiB would fill the memory."""


class Msgpack(dramatiq.Encoder):
    """Carry bytes as they are; the default, JSON, has no bytes."""

    def encode(self, data: dict[str, Any]) -> bytes:
        packed: bytes = msgpack.packb(data)
        return packed

    def decode(self, data: bytes) -> dict[str, Any]:
        unpacked: dict[str, Any] = msgpack.unpackb(data)
        return unpacked


encoder = Msgpack()
dramatiq.set_encoder(encoder)
broker = RedisBroker(url=os.environ["PEER_URL"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["PEER_RESULTS"], encoder=encoder), result_ttl=KEPT_MS))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def echo(document: bytes) -> bytes:
    hashlib.sha256(document).digest()
    return document


@asynccontextmanager
async def sending() -> AsyncIterator[Send]:
    """Call the actor from threads, since its client is made for them."""

    def call(document: bytes) -> list[bytes]:
        return [echo.send(document).get_result(block=True, timeout=int(SEND_WITHIN_S * 1000))]

    async def send(pieces: Sequence[bytes]) -> list[bytes]:
        return await asyncio.get_running_loop().run_in_executor(pool, call, pieces[0])

    with ThreadPoolExecutor(THREADS) as pool:
        yield send
