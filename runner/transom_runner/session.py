"""Speak with one server on one stream: say what we offer, take attempts, tell how they end, and notice silence."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import runner_service_pb2_grpc, session_pb2
from transom.runs.v1 import run_pb2, transfer_pb2
from transom_wire.encoding import Bytes
from transom_wire.errors import RunnerRefused
from transom_wire.limits import ASSIGN_INLINE_BYTES, ASSIGN_INLINE_QUEUED_BYTES, INLINE_BYTES
from transom_wire.outbox import Outbox, OutboxFull
from transom_wire.status import for_reason, to_status

from transom_runner import __version__
from transom_runner.attempt import Assignment, Attempt, Bounds, Ending
from transom_runner.catalog import Offer
from transom_runner.frames import Head
from transom_runner.transfer import Bulk, ResultSender, fetched
from transom_runner.worker import Crew

log = logging.getLogger(__name__)

PROTOCOL: Final = 1
WELCOME_WITHIN_S: Final = 10.0
MAX_QUEUED_ITEMS: Final = 65_536
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
KINDS: Final = {
    "engine": action_pb2.ACTION_KIND_ENGINE,
    "transform": action_pb2.ACTION_KIND_TRANSFORM,
    "connector": action_pb2.ACTION_KIND_CONNECTOR,
    "flow": action_pb2.ACTION_KIND_FLOW,
}
PERSISTENCES: Final = {
    "none": action_pb2.PERSISTENCE_NONE,
    "deleted_after": action_pb2.PERSISTENCE_DELETED_AFTER,
    "retained": action_pb2.PERSISTENCE_RETAINED,
}

Key = tuple[str, int, int]
Stub = runner_service_pb2_grpc.RunnerServiceStub


class SessionEnded(Exception):
    """The session is over; another may follow."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a session offers, and what it works with."""

    boot_id: bytes
    pool: str
    labels: Mapping[str, str]
    containment: int
    offers: Callable[[], Mapping[str, Offer]]
    crew: Callable[[], Crew]
    attempts: int
    memory_bytes: int
    max_result_bytes: int
    max_pages: int
    max_pixels: int


class Session:
    """One control stream. The reader never waits, and one task writes."""

    def __init__(self, control: Stub, bulk: Bulk, workshop: Workshop) -> None:
        self._control = control
        self._bulk = bulk
        self._workshop = workshop
        self._offers = dict(workshop.offers())
        self._outbox: Outbox[wire.RunnerItem] = Outbox(max_items=MAX_QUEUED_ITEMS, max_bytes=MAX_QUEUED_BYTES)
        self._attempts: dict[Key, Attempt] = {}
        self._held: dict[Key, int] = {}
        self._sequence = self._processed = 0
        self._granted_attempts = workshop.attempts
        self._granted_bytes = workshop.memory_bytes
        self._heard = self._spoke = time.monotonic()
        self._beat_s, self._dead_s = 10.0, WELCOME_WITHIN_S
        self._lag_s = 0.0
        self._draining = False
        self._tasks: asyncio.TaskGroup | None = None
        self.welcomed = False

    async def run(self) -> None:
        """Serve until the stream ends; attempts that are not done by then are killed.

        Raises:
            SessionEnded: It is over.
            AioRpcError: The server ended it with an error, or cannot be reached.
        """
        call: Any = self._control.Session(wait_for_ready=False)
        self._greet()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._write(call), name="session writer")
                tasks.create_task(self._watch(), name="session watch")
                tasks.create_task(self._read(call), name="session reader")
        except* (SessionEnded, grpc.aio.AioRpcError) as group:
            raise _first(group) from None
        finally:
            call.cancel()

    def drain(self) -> None:
        """Ask for nothing more, finish what is there, and half-close."""
        self._draining = True
        self._put(wire.RunnerItem(drain=session_pb2.RunnerDrain()))

    # The stream.

    async def _write(self, call: Any) -> None:
        try:
            while items := await self._outbox.take():
                first = self._sequence + 1
                self._sequence += len(items)
                self._spoke = time.monotonic()
                await call.write(wire.SessionRequest(sequence=first, ack=self._processed, items=items))
            await call.done_writing()
        except asyncio.InvalidStateError:
            # The server has ended the stream: the reader knows why.
            return

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            self._heard = time.monotonic()
            for item in response.items:
                self._processed += 1
                self._handle(item)
        code = await call.code()
        if code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), await call.details())
        raise SessionEnded("CLOSED")

    async def _watch(self) -> None:
        """Say something when nothing else was said; end the session once the server has been silent for too long."""
        while True:
            now = time.monotonic()
            if now - self._heard >= self._dead_s:
                raise SessionEnded("SILENT")
            if self.welcomed and now - self._spoke >= self._beat_s * 0.9:
                self._beat()
            pause = min(self._beat_s, self._dead_s) / 5
            await asyncio.sleep(pause)
            self._lag_s = max(0.0, time.monotonic() - now - pause)

    def _beat(self) -> None:
        heartbeat = session_pb2.Heartbeat(running=len(self._attempts), memory_bytes=sum(self._held.values()))
        heartbeat.loop_lag.FromMicroseconds(int(self._lag_s * 1e6))
        self._put(wire.RunnerItem(heartbeat=heartbeat), urgent=True)

    def _put(self, item: wire.RunnerItem, size_bytes: int = 0, *, urgent: bool = False, rides: bool = False) -> None:
        try:
            self._outbox.put(item, size_bytes, urgent=urgent, rides=rides)
        except OutboxFull:
            raise SessionEnded("NOT_READ") from None

    # What is said.

    def _greet(self) -> None:
        shop = self._workshop
        hello = session_pb2.Hello(
            protocol=PROTOCOL, boot_id=shop.boot_id, software=__version__, hostname=socket.gethostname(), pool=shop.pool,
            labels=dict(shop.labels), actions=[_action(offer) for offer in self._offers.values()],
            containment=shop.containment,  # type: ignore[arg-type]
        )  # fmt: skip
        self._put(wire.RunnerItem(hello=hello))
        self._credit()

    def _credit(self) -> None:
        credit = session_pb2.Credit(pool=self._workshop.pool, total_attempts=self._granted_attempts, total_bytes=self._granted_bytes)
        self._put(wire.RunnerItem(credit=credit), rides=self.welcomed)

    # What is heard.

    def _handle(self, item: wire.ServerItem) -> None:
        kind = item.WhichOneof("item")
        if kind == "assign":
            self._assigned(item.assign)
        elif kind == "cancel":
            self._end(item.cancel.fence, item.cancel.kill_after.ToMicroseconds() / 1e6)
        elif kind == "revoke":
            self._end(item.revoke.fence, 0.0)
        elif kind == "welcome":
            self.welcomed = True
            self._beat_s = max(0.1, item.welcome.heartbeat_every.ToMicroseconds() / 1e6)
            self._dead_s = max(0.5, item.welcome.dead_after.ToMicroseconds() / 1e6)
            log.info("session.opened", extra={"session": item.welcome.session})
        elif kind == "goodbye":
            log.info("session.goodbye")
        elif kind == "barrier":
            self._close_when_done()

    def _end(self, fence: session_pb2.Fence, kill_after_s: float) -> None:
        attempt = self._attempts.get(_key(fence))
        if attempt is not None:
            attempt.cancel("CANCELLED", kill_after_s)

    def _close_when_done(self) -> None:
        if self._draining and not self._attempts:
            self._outbox.close()

    def _assigned(self, assign: session_pb2.Assign) -> None:
        key = _key(assign.fence)
        offer = self._offers.get(assign.action)
        self._held[key] = sum(document.size_bytes for document in assign.documents)
        if offer is None or key in self._attempts or self._tasks is None:
            refusal = session_pb2.AttemptReply(fence=assign.fence, accepted=False, status=to_status(RunnerRefused()))
            self._put(wire.RunnerItem(reply=refusal))
            self._free(key)
            return
        self._put(wire.RunnerItem(reply=session_pb2.AttemptReply(fence=assign.fence, accepted=True)), rides=True)
        if offer.side_effects:
            possible = session_pb2.AttemptProgress(fence=assign.fence, side_effects=run_pb2.SIDE_EFFECTS_POSSIBLE)
            self._put(wire.RunnerItem(progress=possible))
        attempt = self._attempts[key] = self._attempt(assign, offer)
        self._tasks.create_task(self._run(assign.fence, offer, attempt), name=f"attempt {assign.fence.run}")

    def _attempt(self, assign: session_pb2.Assign, offer: Offer) -> Attempt:
        fence, shop = assign.fence, self._workshop
        left = assign.time_left.ToMicroseconds() / 1e6
        inline = list(assign.inline_documents)

        def documents(index: int) -> AsyncIterator[Bytes]:
            return _given(inline[index]) if inline else fetched(self._bulk, fence, index, left)

        sender = ResultSender(
            bulk=self._bulk, fence=fence, inline_bytes=self._room(assign), max_bytes=shop.max_result_bytes, timeout_s=left,
            # The end of a small call comes at once behind its result: both leave together.
            inline=lambda chunks, size: self._put(wire.RunnerItem(result=_result(fence, chunks)), size, rides=True),
        )  # fmt: skip
        return Attempt(
            _assignment(assign, offer, shop, left), shop.crew(), sender, documents=documents,
            report=lambda done, total: self._report(fence, offer, done, total),
        )  # fmt: skip

    def _room(self, assign: session_pb2.Assign) -> int:
        """Say how much of a result may ride on this stream, where heartbeats must not wait for long."""
        crowded = self._outbox.queued_bytes > ASSIGN_INLINE_QUEUED_BYTES
        return min(assign.inline_result_bytes, INLINE_BYTES if crowded else ASSIGN_INLINE_BYTES)

    def _report(self, fence: session_pb2.Fence, offer: Offer, done: int, total: int) -> None:
        progress = session_pb2.AttemptProgress(fence=fence, side_effects=_effects(offer), done=done, total=total)
        self._put(wire.RunnerItem(progress=progress), rides=True)

    async def _run(self, fence: session_pb2.Fence, offer: Offer, attempt: Attempt) -> None:
        key = _key(fence)
        try:
            ending = await attempt.run()
        finally:
            del self._attempts[key]
        self._put(wire.RunnerItem(done=_done(fence, offer, ending, self._workshop.containment)))
        self._free(key)
        self._close_when_done()

    def _free(self, key: Key) -> None:
        """Give the server room for another attempt."""
        self._granted_attempts += 1
        self._granted_bytes += self._held.pop(key, 0)
        if not self._draining:
            self._credit()


async def _given(data: bytes) -> AsyncIterator[Bytes]:
    yield data


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _key(fence: session_pb2.Fence) -> Key:
    return fence.run, fence.attempt, fence.token


def _result(fence: session_pb2.Fence, chunks: Iterable[transfer_pb2.ResultChunk]) -> session_pb2.AttemptResult:
    return session_pb2.AttemptResult(fence=fence, chunks=chunks)


def _assignment(assign: session_pb2.Assign, offer: Offer, shop: Workshop, left: float) -> Assignment:
    documents = tuple(
        Head(index=index, media_type=one.media_type, size_bytes=one.size_bytes, sha256=one.sha256)
        for index, one in enumerate(assign.documents)
    )
    bounds = Bounds(max_bytes=offer.max_bytes, max_pages=min(offer.max_pages, shop.max_pages), max_pixels=shop.max_pixels)
    return Assignment(
        action=assign.action, parameters=_plain(assign.parameters), documents=documents, time_left_s=left, bounds=bounds, needs=offer.needs
    )  # fmt: skip


def _plain(parameters: Message) -> dict[str, Any]:
    """Return parameters with whole numbers as int: a Struct knows only floating point."""
    result: dict[str, Any] = _whole(MessageToDict(parameters))
    return result


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _effects(offer: Offer) -> run_pb2.SideEffects.ValueType:
    return run_pb2.SIDE_EFFECTS_POSSIBLE if offer.side_effects else run_pb2.SIDE_EFFECTS_NONE


def _done(fence: session_pb2.Fence, offer: Offer, ending: Ending, containment: int) -> session_pb2.AttemptDone:
    evidence = run_pb2.Evidence(
        containment=containment, processes=ending.evidence.processes,  # type: ignore[arg-type]
        disk_write_blocks=ending.evidence.disk_write_blocks, discarded_output_bytes=ending.evidence.discarded_output_bytes,
        peak_rss_bytes=ending.evidence.peak_rss_bytes,
    )  # fmt: skip
    evidence.cpu_time.FromMicroseconds(int(ending.evidence.cpu_time_s * 1e6))
    done = session_pb2.AttemptDone(
        fence=fence, state=_state(ending.reason), side_effects=_effects(offer), evidence=evidence,
        parts=ending.parts, pages=ending.pages, pages_failed=ending.pages_failed,
    )  # fmt: skip
    done.running.FromMicroseconds(int(ending.running_s * 1e6))
    if ending.reason:
        done.status.CopyFrom(to_status(for_reason(ending.reason)))
    return done


def _state(reason: str) -> run_pb2.RunState.ValueType:
    if not reason:
        return run_pb2.RUN_STATE_SUCCEEDED
    return run_pb2.RUN_STATE_CANCELLED if reason == "CANCELLED" else run_pb2.RUN_STATE_FAILED


def _action(offer: Offer) -> action_pb2.Action:
    return action_pb2.Action(
        name=offer.name, plugin=offer.plugin, version=offer.version, summary=offer.summary, kind=KINDS[offer.kind],
        media_types=offer.media_types, parameters_schema=offer.parameters_schema, idempotent=offer.idempotent, hosts=offer.hosts,
        persistence=PERSISTENCES[offer.persistence], max_bytes=offer.max_bytes, max_pages=offer.max_pages,
    )  # fmt: skip
