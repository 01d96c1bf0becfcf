"""Speak with one server on one stream: say what we offer, take attempts, tell how they end, and notice silence."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import grpc
from transom.plugins.v1 import action_pb2
from transom.runners.v1 import runner_service_pb2 as wire
from transom.runners.v1 import runner_service_pb2_grpc, session_pb2
from transom_wire.outbox import Outbox, OutboxFull

from transom_runner import __version__
from transom_runner.attempts import Attempts, Workshop
from transom_runner.catalog import Offer
from transom_runner.transfer import Bulk

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

Stub = runner_service_pb2_grpc.RunnerServiceStub


class SessionEnded(Exception):
    """The session is over; another may follow."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Session:
    """One control stream. The reader never waits, and one task writes."""

    def __init__(self, control: Stub, bulk: Bulk, workshop: Workshop, attempts: Attempts) -> None:
        self._control = control
        self._bulk = bulk
        self._workshop = workshop
        self._attempts = attempts
        self._outbox: Outbox[wire.RunnerItem] = Outbox(max_items=MAX_QUEUED_ITEMS, max_bytes=MAX_QUEUED_BYTES)
        self._written: deque[wire.RunnerItem] = deque()
        """What the server has not acknowledged."""
        self._beyond: list[wire.RunnerItem] = []
        """What found no room in the outbox; the session ends then, and the next one says it."""
        self._full = asyncio.Event()
        self._sequence = self._processed = self._acknowledged = 0
        self._granted_attempts, self._granted_bytes = workshop.attempts - attempts.count, workshop.memory_bytes - attempts.size_bytes
        self._heard = self._spoke = time.monotonic()
        self._beat_s, self._dead_s = 10.0, WELCOME_WITHIN_S
        self._lag_s = 0.0
        self._draining = self._barred = False
        self.welcomed = False
        self.over = False
        self.leaving = asyncio.Event()
        """Set once the server has said Goodbye: another session shall be opened before this one ends."""
        self.spread_s = 0.0

    async def run(self) -> None:
        """Serve until the stream ends; attempts that are not done by then wait for the next session.

        Raises:
            SessionEnded: It is over.
            AioRpcError: The server ended it with an error, or cannot be reached.
        """
        call: Any = self._control.Session(wait_for_ready=False)
        self._greet()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(call), name="session writer")
                tasks.create_task(self._watch(), name="session watch")
                tasks.create_task(self._read(call), name="session reader")
                tasks.create_task(self._guard(), name="session guard")
        except* (SessionEnded, grpc.aio.AioRpcError) as group:
            raise _first(group) from None
        finally:
            self.over = True
            self._attempts.broke(self)
            call.cancel()

    def close(self) -> None:
        """Write what is queued, and half-close."""
        self._outbox.close()

    def drain(self) -> None:
        """Ask for nothing more, finish what is there, and half-close."""
        self._draining = True
        self.put(wire.RunnerItem(drain=session_pb2.RunnerDrain()))

    # The stream.

    async def _write(self, call: Any) -> None:
        try:
            while items := await self._outbox.take():
                first = self._sequence + 1
                self._sequence += len(items)
                self._spoke = time.monotonic()
                self._written.extend(items)
                await call.write(wire.SessionRequest(sequence=first, ack=self._processed, items=items))
            await call.done_writing()
        except asyncio.InvalidStateError:
            # The server has ended the stream: the reader knows why.
            return

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            self._heard = time.monotonic()
            if response.sequence != self._processed + 1 or response.ack > self._sequence:
                raise SessionEnded("OUT_OF_ORDER")
            for item in response.items:
                self._processed += 1
                self._handle(item)
            self.acknowledged(response.ack)
        code = await call.code()
        if code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), await call.details())
        raise SessionEnded("CLOSED")

    def acknowledged(self, count: int) -> None:
        """Forget items that the server has processed, and let start what waited for that."""
        new = min(count - self._acknowledged, len(self._written))
        if new > 0:
            self._acknowledged += new
            self._attempts.acknowledged([self._written.popleft() for _ in range(new)])

    def unsaid(self) -> Iterable[wire.RunnerItem]:
        """Yield what the server has not acknowledged, in order."""
        return (*self._written, *self._outbox, *self._beyond)

    async def _guard(self) -> None:
        await self._full.wait()
        raise SessionEnded("NOT_READ")

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
        heartbeat = session_pb2.Heartbeat(running=self._attempts.count, memory_bytes=self._attempts.size_bytes)
        heartbeat.loop_lag.FromMicroseconds(int(self._lag_s * 1e6))
        self.put(wire.RunnerItem(heartbeat=heartbeat), urgent=True)

    @property
    def queued_bytes(self) -> int:
        """Payload bytes that wait to be written."""
        return self._outbox.queued_bytes

    def put(self, item: wire.RunnerItem, size_bytes: int = 0, *, urgent: bool = False, rides: bool = False) -> None:
        """Say something; never fails, since what finds no room ends the session, and waits for the next."""
        try:
            self._outbox.put(item, size_bytes, urgent=urgent, rides=rides)
        except OutboxFull:
            self._beyond.append(item)
            self._full.set()

    # What is said.

    def _greet(self) -> None:
        shop = self._workshop
        hello = session_pb2.Hello(
            protocol=PROTOCOL, boot_id=shop.boot_id, software=__version__, hostname=socket.gethostname(), pool=shop.pool,
            labels=dict(shop.labels), actions=[_action(offer) for offer in shop.offers().values()],
            containment=shop.containment,  # type: ignore[arg-type]
            resume_token=self._attempts.resume_token, in_flight=self._attempts.in_flight(),
        )  # fmt: skip
        self.put(wire.RunnerItem(hello=hello))
        self._credit()

    def _credit(self) -> None:
        attempts, size = max(0, self._granted_attempts), max(0, self._granted_bytes)
        credit = session_pb2.Credit(pool=self._workshop.pool, total_attempts=attempts, total_bytes=size)
        self.put(wire.RunnerItem(credit=credit), rides=self.welcomed)

    def freed(self, size_bytes: int) -> None:
        """Give the server room for another attempt."""
        self._granted_attempts += 1
        self._granted_bytes += size_bytes
        if not self._draining:
            self._credit()
        self._close_when_done()

    # What is heard.

    def _handle(self, item: wire.ServerItem) -> None:
        kind = item.WhichOneof("item")
        if kind == "assign":
            self._attempts.assigned(item.assign, self._bulk)
        elif kind == "cancel":
            self._attempts.end(item.cancel.fence, item.cancel.kill_after.ToMicroseconds() / 1e6)
        elif kind == "revoke":
            self._attempts.end(item.revoke.fence, 0.0)
        elif kind == "welcome" and not self.welcomed:
            self._welcomed(item.welcome)
        elif kind == "goodbye":
            log.info("session.goodbye")
            self.spread_s = item.goodbye.spread.ToMicroseconds() / 1e6
            self.leaving.set()
        elif kind == "barrier":
            self._barred = True
            self._close_when_done()

    def _welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._beat_s = max(0.1, welcome.heartbeat_every.ToMicroseconds() / 1e6)
        self._dead_s = max(0.5, welcome.dead_after.ToMicroseconds() / 1e6)
        log.info("session.opened", extra={"session": welcome.session})
        self.welcomed = True
        self._attempts.joined(self, welcome)
        # An attempt may have ended between our greeting and now.
        free = self._workshop.attempts - self._attempts.count
        if free > self._granted_attempts:
            self._granted_attempts = free
            self._granted_bytes = max(self._granted_bytes, self._workshop.memory_bytes - self._attempts.size_bytes)
            self._credit()

    def _close_when_done(self) -> None:
        if self._draining and self._barred and not self._attempts.count:
            self.close()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _action(offer: Offer) -> action_pb2.Action:
    return action_pb2.Action(
        name=offer.name, plugin=offer.plugin, version=offer.version, summary=offer.summary, kind=KINDS[offer.kind],
        media_types=offer.media_types, parameters_schema=offer.parameters_schema, idempotent=offer.idempotent, hosts=offer.hosts,
        persistence=PERSISTENCES[offer.persistence], max_bytes=offer.max_bytes, max_pages=offer.max_pages,
    )  # fmt: skip
