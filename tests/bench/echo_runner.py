"""A runner without processes: it speaks the runner protocol, hashes each document once, and sends it back.

It stands where the daemon stands, so that what is measured is the server and the protocol, not plugins.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from pathlib import Path
from typing import Any

import grpc
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import runner_service_pb2_grpc, session_pb2
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_wire.channel import client_options
from transom_wire.credentials import channel_credentials
from transom_wire.limits import MIB
from transom_wire.outbox import Outbox

from bench.child import run, say, tls, until_end_of_input

ATTEMPTS = 256
MEMORY_BYTES = 1024 * MIB
ECHO = action_pb2.Action(
    name="bench.echo", plugin="bench", version="1", summary="Send documents back", idempotent=True,
    persistence=action_pb2.PERSISTENCE_NONE, media_types=["application/octet-stream"],
)  # fmt: skip
EVIDENCE = run_pb2.Evidence(containment=run_pb2.CONTAINMENT_LEVEL_LIMITS, processes=1)


class EchoRunner:
    """One session, and the transfers beside it."""

    def __init__(self, control: grpc.aio.Channel, bulk: grpc.aio.Channel) -> None:
        stub: Any = runner_service_pb2_grpc.RunnerServiceStub(control)
        self.session: Any = stub.Session()
        self._bulk: Any = runner_service_pb2_grpc.RunnerServiceStub(bulk)
        self._outbox: Outbox[wire.RunnerItem] = Outbox(max_items=65_536, max_bytes=64 * MIB)
        self._sequence = 0
        self._processed = 0
        self._done = 0
        self._done_bytes = 0
        self._transfers: set[asyncio.Task[None]] = set()

    async def write(self) -> None:
        while items := await self._outbox.take():
            first = self._sequence + 1
            self._sequence += len(items)
            await self.session.write(wire.SessionRequest(sequence=first, ack=self._processed, items=items))

    async def read(self) -> None:
        hello = session_pb2.Hello(
            protocol=1, boot_id=b"bench", software="bench", hostname="localhost", pool="default", actions=[ECHO],
            containment=run_pb2.CONTAINMENT_LEVEL_LIMITS,
        )  # fmt: skip
        self._outbox.put(wire.RunnerItem(hello=hello))
        self._grant()
        async for response in self.session:
            done = self._done
            for item in response.items:
                self._heard(item)
            self._processed += len(response.items)
            if self._done > done:
                # Credit is cumulative: one item speaks for all attempts of the envelope.
                self._grant()

    async def beat(self) -> None:
        """Give a sign of life."""
        while True:
            await asyncio.sleep(5)
            self._outbox.put(wire.RunnerItem(heartbeat=session_pb2.Heartbeat()), urgent=True)

    def _grant(self) -> None:
        credit = session_pb2.Credit(
            pool="default", total_attempts=ATTEMPTS + self._done, total_bytes=MEMORY_BYTES + self._done_bytes
        )  # fmt: skip
        self._outbox.put(wire.RunnerItem(credit=credit))

    def _heard(self, item: wire.ServerItem) -> None:
        if item.HasField("welcome"):
            say("ready")
        elif item.HasField("assign"):
            assign = item.assign
            self._outbox.put(wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=True)))
            if assign.inline_documents:
                self._answer(assign)
            else:
                task = asyncio.create_task(self._transfer(assign))
                self._transfers.add(task)
                task.add_done_callback(self._transferred)

    def _transferred(self, task: asyncio.Task[None]) -> None:
        self._transfers.discard(task)
        if not task.cancelled() and task.exception() is not None:
            say("failed", error=repr(task.exception()))

    def _answer(self, assign: session_pb2.Assign) -> None:
        result = session_pb2.AttemptResult(fence=assign.fence)
        size = 0
        for number, data in enumerate(assign.inline_documents):
            hashlib.sha256(data).digest()
            result.chunks.add(part=number, data=data, last=True, document=number, media_type="application/octet-stream")
            size += len(data)
        self._outbox.put(wire.RunnerItem(result=result), size)
        self._end(assign)

    async def _transfer(self, assign: session_pb2.Assign) -> None:
        """Fetch a document and push it, each chunk as soon as it is here and there is credit."""
        push = self._bulk.PushResult()
        await push.write(wire.PushResultRequest(fence=assign.fence))
        digest = hashlib.sha256()
        size = assign.documents[0].size_bytes
        sent = room = 0
        async for response in self._bulk.FetchDocument(wire.FetchDocumentRequest(fence=assign.fence)):
            for chunk in response.chunks:
                digest.update(chunk.data)
                while sent + len(chunk.data) > room:
                    room = await _granted(push)
                piece = transfer_pb2.ResultChunk(offset=sent, data=chunk.data, last=sent + len(chunk.data) == size)
                if not sent:
                    piece.media_type = "application/octet-stream"
                sent += len(chunk.data)
                await push.write(wire.PushResultRequest(chunks=[piece]))
        await push.done_writing()
        while await push.read() is not grpc.aio.EOF:
            pass
        self._end(assign)
        self._grant()

    def _end(self, assign: session_pb2.Assign) -> None:
        self._done += 1
        self._done_bytes += sum(document.size_bytes for document in assign.documents)
        done = session_pb2.AttemptDone(
            fence=assign.fence, state=run_pb2.RUN_STATE_SUCCEEDED, side_effects=run_pb2.SIDE_EFFECTS_NONE, evidence=EVIDENCE,
            parts=len(assign.documents),
        )  # fmt: skip
        self._outbox.put(wire.RunnerItem(done=done))


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
