"""A NATS responder, and who asks it; runs in the environment of the peers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import nats
from nats.aio.msg import Msg

from bench.child import end_of_input, run, say
from bench.timing import SEND_WITHIN_S, Send

SUBJECT = "bench.echo"


async def answer(message: Msg) -> None:
    hashlib.sha256(message.data).digest()
    await message.respond(message.data)


@asynccontextmanager
async def sending() -> AsyncIterator[Send]:
    """Ask on one connection."""
    connection = await nats.connect(os.environ["PEER_URL"])

    async def send(pieces: Sequence[bytes]) -> list[bytes]:
        return [(await connection.request(SUBJECT, pieces[0], timeout=SEND_WITHIN_S)).data]

    try:
        yield send
    finally:
        await connection.close()


async def main() -> None:
    connection = await nats.connect(os.environ["PEER_URL"])
    await connection.subscribe(SUBJECT, cb=answer)
    await connection.flush()
    say("ready")
    await end_of_input()
    await connection.close()


if __name__ == "__main__":
    run(main())
