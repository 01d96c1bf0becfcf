"""A runner without processes: it speaks the runner protocol, hashes each document once, and sends it back.

It stands where the daemon stands, so that what is measured is the server and the protocol, not plugins.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import session_pb2
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_runner.transfer import Bulk
from transom_wire.channel import client_options
from transom_wire.credentials import channel_credentials
from transom_wire.encoding import Bytes, Peel, boxed, framed, tag, varint
from transom_wire.limits import MIB
from transom_wire.outbox import Outbox

from bench.child import run, say, tls, until_end_of_input

ATTEMPTS = 256
MEMORY_BYTES = 1024 * MIB
ECHO = action_pb2.Action(
    name="bench.echo", plugin="bench", version="1", summary="Send documents back", idempotent=True,
    persistence=action_pb2.PERSISTENCE_NONE, media_types=["application/octet-stream"],
)  # fmt: skip
SESSION = "/transom.runners.v1.RunnerService/Session"
SEQUENCE = tag(wire.SessionRequest, "sequence")
ACK = tag(wire.SessionRequest, "ack")
ITEMS = tag(wire.SessionRequest, "items")
REPLY = tag(wire.RunnerItem, "reply")
REPLY_FENCE = tag(session_pb2.AttemptReply, "fence")
ACCEPTED = session_pb2.AttemptReply(accepted=True).SerializeToString()
RESULT = tag(wire.RunnerItem, "result")
DONE = tag(wire.RunnerItem, "done")
RESULT_FENCE = tag(session_pb2.AttemptResult, "fence")
DONE_FENCE = tag(session_pb2.AttemptDone, "fence")
CHUNKS = tag(session_pb2.AttemptResult, "chunks")
PUSHED = tag(wire.PushResultRequest, "chunks")
DATA = tag(transfer_pb2.ResultChunk, "data")
EVIDENCE = run_pb2.Evidence(containment=run_pb2.CONTAINMENT_LEVEL_LIMITS, processes=1)


class EchoRunner:
    """One session, and the transfers beside it."""

    def __init__(self, control: grpc.aio.Channel, bulk: grpc.aio.Channel) -> None:
        # Bytes are sent as they are: the envelope is put together here.
        method: Any = control.stream_stream(SESSION, None, Peel(wire.SessionResponse, ("items", "assign", "inline_documents")))
        self.session: Any = method()
        self._bulk = Bulk(bulk)
        self._outbox: Outbox[list[Bytes]] = Outbox(max_items=65_536, max_bytes=64 * MIB)
        self._sequence = 0
        self._processed = 0
        self._done = 0
        self._done_bytes = 0
        self._transfers: set[asyncio.Task[None]] = set()

    async def write(self) -> None:
        while items := await self._outbox.take():
            first = self._sequence + 1
            self._sequence += len(items)
            head = SEQUENCE + varint(first) + ACK + varint(self._processed)
            await self.session.write(b"".join([head, *[part for item in items for part in item]]))

    def _put(self, item: wire.RunnerItem, *, urgent: bool = False) -> None:
        self._outbox.put([boxed(ITEMS, item.SerializeToString())], urgent=urgent)

    async def read(self) -> None:
        hello = session_pb2.Hello(
            protocol=1, boot_id=b"bench", software="bench", hostname="localhost", pool="default", actions=[ECHO],
            containment=run_pb2.CONTAINMENT_LEVEL_LIMITS,
        )  # fmt: skip
        self._put(wire.RunnerItem(hello=hello))
        self._grant()
        async for response, data in self.session:
            done = self._done
            for item in response.items:
                self._heard(item, data)
            self._processed += len(response.items)
            if self._done > done:
                # Credit is cumulative: one item speaks for all attempts of the envelope.
                self._grant()

    async def beat(self) -> None:
        """Give a sign of life."""
        while True:
            await asyncio.sleep(5)
            self._put(wire.RunnerItem(heartbeat=session_pb2.Heartbeat()), urgent=True)

    def _grant(self) -> None:
        credit = session_pb2.Credit(
            pool="default", total_attempts=ATTEMPTS + self._done, total_bytes=MEMORY_BYTES + self._done_bytes
        )  # fmt: skip
        self._put(wire.RunnerItem(credit=credit))

    def _heard(self, item: wire.ServerItem, data: memoryview | None) -> None:
        kind = item.WhichOneof("item")
        if kind == "welcome":
            say("ready")
        elif kind == "assign":
            assign = item.assign
            if data is not None or assign.inline_documents:
                self._answer(assign, assign.inline_documents if data is None else [data])
            else:
                self._outbox.put([_accepted(assign.fence.SerializeToString())])
                task = asyncio.create_task(self._transfer(assign))
                self._transfers.add(task)
                task.add_done_callback(self._transferred)

    def _transferred(self, task: asyncio.Task[None]) -> None:
        self._transfers.discard(task)
        if not task.cancelled() and task.exception() is not None:
            say("failed", error=repr(task.exception()))

    def _answer(self, assign: session_pb2.Assign, documents: Sequence[Bytes]) -> None:
        fence = assign.fence.SerializeToString()
        parts: list[Bytes] = [boxed(RESULT_FENCE, fence)]
        size = 0
        for number, data in enumerate(documents):
            hashlib.sha256(data).digest()
            parts += framed(CHUNKS, [_head(number), *framed(DATA, [data])])
            size += len(data)
        self._count(assign)
        result, ended = framed(ITEMS, framed(RESULT, parts)), _ended(fence, len(documents))
        # One message says all where the result is small; each is an item with a number of its own.
        self._outbox.put([_accepted(fence)])
        self._outbox.put(result, size)
        self._outbox.put([ended])

    async def _transfer(self, assign: session_pb2.Assign) -> None:
        """Fetch a document and push it, each chunk as soon as it is here and there is credit."""
        push = self._bulk.push()
        await push.write(wire.PushResultRequest(fence=assign.fence).SerializeToString())
        digest = hashlib.sha256()
        size = assign.documents[0].size_bytes
        sent = room = 0
        async for response, data in self._bulk.fetch(wire.FetchDocumentRequest(fence=assign.fence)):
            for chunk in response.chunks:
                taken = chunk.data if data is None else data
                digest.update(taken)
                while sent + len(taken) > room:
                    room = await _granted(push)
                piece = transfer_pb2.ResultChunk(offset=sent, last=sent + len(taken) == size)
                if not sent:
                    piece.media_type = "application/octet-stream"
                sent += len(taken)
                await push.write(b"".join(framed(PUSHED, [piece.SerializeToString(), *framed(DATA, [taken])])))
        await push.done_writing()
        while await push.read() is not grpc.aio.EOF:
            pass
        self._end(assign)
        self._grant()

    def _end(self, assign: session_pb2.Assign) -> None:
        self._count(assign)
        self._outbox.put([_ended(assign.fence.SerializeToString(), len(assign.documents))])

    def _count(self, assign: session_pb2.Assign) -> None:
        self._done += 1
        for document in assign.documents:
            self._done_bytes += document.size_bytes


def _accepted(fence: bytes) -> bytes:
    return boxed(ITEMS, boxed(REPLY, boxed(REPLY_FENCE, fence) + ACCEPTED))


def _ended(fence: bytes, parts: int) -> bytes:
    return boxed(ITEMS, boxed(DONE, boxed(DONE_FENCE, fence) + _done(parts)))


@lru_cache(maxsize=64)
def _head(number: int) -> bytes:
    chunk = transfer_pb2.ResultChunk(part=number, last=True, document=number, media_type="application/octet-stream")
    return chunk.SerializeToString()


@lru_cache(maxsize=64)
def _done(parts: int) -> bytes:
    done = session_pb2.AttemptDone(
        state=run_pb2.RUN_STATE_SUCCEEDED, side_effects=run_pb2.SIDE_EFFECTS_NONE, evidence=EVIDENCE, parts=parts
    )  # fmt: skip
    return done.SerializeToString()


async def _granted(push: Any) -> int:
    response = await push.read()
    if response is grpc.aio.EOF:
        raise ConnectionError("the server takes no more of the result")
    total: int = response.credits[-1].total_bytes
    return total


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    credentials = channel_credentials(tls(options.state, "runner"))
    endpoint = f"127.0.0.1:{options.port}"
    async with (
        grpc.aio.secure_channel(endpoint, credentials, options=client_options()) as control,
        grpc.aio.secure_channel(endpoint, credentials, options=client_options()) as bulk,
    ):
        runner = EchoRunner(control, bulk)
        await until_end_of_input(runner.read(), runner.write(), runner.beat())
        runner.session.cancel()


if __name__ == "__main__":
    run(main())
