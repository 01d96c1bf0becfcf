"""Make load on a peer: a process in the environment of the peers that sends documents as long as it is asked to."""

from __future__ import annotations

import importlib
import sys

from bench.child import questions, run, say
from bench.timing import measure

WAYS = ("celery", "dramatiq", "nats")


def whole(document: bytes) -> list[bytes]:
    """Peers take a document in one piece."""
    return [document]


async def main() -> None:
    (way,) = (way for way in WAYS if way == sys.argv[1])
    work = importlib.import_module(f"bench.peers.{way}_work")
    async with work.sending() as send:
        say("ready")
        async for question in questions():
            say("answer", **await measure(send, whole, **question))


if __name__ == "__main__":
    run(main())
    sys.exit(0)
