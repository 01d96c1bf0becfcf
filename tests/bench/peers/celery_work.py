"""The task as a Celery user writes it, and who calls it; runs in the environment of the peers."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from celery import Celery

from bench.timing import SEND_WITHIN_S, Send

THREADS = 16

app = Celery("bench", broker=os.environ["PEER_URL"], backend=os.environ["PEER_RESULTS"])
# msgpack carries bytes as they are; Celery's default, JSON, would cost both sides base64.
app.conf.update(task_serializer="msgpack", result_serializer="msgpack", accept_content=["msgpack", "json"])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
if os.environ["PEER_RESULTS"].startswith("redis"):
    # A day is the default: results of 1 MiB would fill the memory.
    app.conf.result_expires = 5


@app.task
def echo(document: bytes) -> bytes:
    hashlib.sha256(document).digest()
    return document


@asynccontextmanager
async def sending() -> AsyncIterator[Send]:
    """Call the task from threads: a result is waited for in the thread that sent the document."""

    def call(document: bytes) -> list[bytes]:
        return [echo.delay(document).get(timeout=SEND_WITHIN_S)]

    async def send(pieces: Sequence[bytes]) -> list[bytes]:
        return await asyncio.get_running_loop().run_in_executor(pool, call, pieces[0])

    with ThreadPoolExecutor(THREADS) as pool:
        yield send
