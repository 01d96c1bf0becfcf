"""`transom.runners.v1.RunnerService`: the runners' RPCs. Control on one stream, bytes on others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from transom.runners.v1 import runner_service_pb2, runner_service_pb2_grpc, session_pb2
from transom.runs.v1 import transfer_pb2
from transom_wire.encoding import framed, tag
from transom_wire.errors import DeadlineExceeded, InvalidRequest, RunUnknown
from transom_wire.limits import PUSH_WINDOW_BYTES

from transom_server.breaks import Breaks
from transom_server.budget import Budget
from transom_server.dispatch import Dispatch
from transom_server.identity.caller import PEER
from transom_server.ledger.book import Ledger
from transom_server.metrics import Metrics
from transom_server.offers import Offers
from transom_server.run import Run
from transom_server.sessions import Pace, RunnerSession, Sessions, piece_of

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
HELLO_WITHIN_S = 10.0
CHUNKS = tag(runner_service_pb2.FetchDocumentResponse, "chunks")
DATA = tag(transfer_pb2.DocumentChunk, "data")
ITEMS = tag(runner_service_pb2.SessionResponse, "items")


class RunnerService(runner_service_pb2_grpc.RunnerServiceServicer):
    """Connect runners, which dial out."""

    def __init__(
        self, *, dispatch: Dispatch, sessions: Sessions, offers: Offers, budget: Budget, ledger: Ledger, metrics: Metrics, pace: Pace
    ) -> None:  # fmt: skip
        self._dispatch = dispatch
        self._budget = budget
        self._sessions = sessions
        self._offers = offers
        self._ledger = ledger
        self._pace = pace
        self._breaks = Breaks(dispatch, sessions, pace.resume_grace_s)
        metrics.sessions.set_function(lambda: len(sessions.by_runner))

    async def Session(self, request_iterator: AsyncIterator[Any], context: Context) -> None:  # type: ignore[override]  # it writes, and so yields nothing
        """Serve one runner until it leaves, falls silent, is superseded, or breaks the rules."""
        session, hello = await self._greet(request_iterator)
        self._breaks.join(session, hello)
        may_return = True
        tasks = [
            asyncio.create_task(_write(session, context), name="session writer"),
            asyncio.create_task(_read(session, request_iterator), name="session reader"),
            asyncio.create_task(session.watch(), name="session watch"),
        ]
        try:
            self._connected(session)
            finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                task.result()
            # A runner that has drained says so by half-closing.
            may_return = not (session.draining and tasks[1] in finished)
        except InvalidRequest:
            may_return = False
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._disconnected(session, may_return=may_return)

    async def _greet(self, requests: AsyncIterator[Any]) -> tuple[RunnerSession, session_pb2.Hello]:
        async with asyncio.timeout(HELLO_WITHIN_S):
            async for request, _ in requests:
                if request.sequence != 1 or len(request.items) == 0 or not request.items[0].HasField("hello"):
                    break
                hello = request.items[0].hello
                session = RunnerSession(PEER.get().name, hello, self._dispatch, self._pace)
                session.greeting = list(request.items[1:])
                return session, hello
        raise InvalidRequest("the first item of a session must be Hello")

    def _connected(self, session: RunnerSession) -> None:
        self._offers.add(session.id, session.actions)
        self._dispatch.connect(session, session.offer)
        if session.runner in self._sessions.cordoned:
            self._dispatch.cordon(session)
        self._ledger.note_runner(session)
        session.handle(session.greeting)
        log.info("session.opened", extra={"runner": session.runner, "session": session.id, "hostname": session.hostname})

    def _disconnected(self, session: RunnerSession, *, may_return: bool) -> None:
        self._sessions.remove(session)
        self._offers.remove(session.id)
        self._breaks.leave(session, may_return=may_return)
        self._ledger.note_runner(session)
        log.info("session.closed", extra={"runner": session.runner, "session": session.id})

    async def FetchDocument(self, request: runner_service_pb2.FetchDocumentRequest, context: Context) -> None:  # type: ignore[override]  # it writes, and so yields nothing
        """Stream one document to the runner that has its attempt, as its bytes come from the caller."""
        run = self._run(request.fence)
        if request.document >= len(run.request.documents):
            raise InvalidRequest("the run has no such document")
        try:
            async with asyncio.timeout(max(0.0, run.time_left_s())):
                async for offset, chunks in run.payload.read(request.document):
                    if self._run(request.fence) is not run:
                        raise RunUnknown
                    head = transfer_pb2.DocumentChunk(document=request.document, offset=offset).SerializeToString()
                    await context.write(b"".join(framed(CHUNKS, [head, *framed(DATA, chunks)])))
        except TimeoutError:
            raise DeadlineExceeded from None

    async def PushResult(self, request_iterator: AsyncIterator[Any], context: Context) -> None:  # type: ignore[override]  # it writes, and so yields nothing
        """Take an attempt's result, as fast as its caller takes it."""
        run: Run | None = None
        runner = PEER.get().name
        fence = session_pb2.Fence()
        granting: asyncio.Task[None] | None = None
        received = 0
        try:
            async for request, data in request_iterator:
                if run is None:
                    fence = request.fence
                    run = self._run(fence)
                    window = _Window(run, fence.attempt, self._budget)
                    granting = asyncio.create_task(window.grant(context), name="push result credit")
                if request.chunks and not received:
                    await _behind_inline(run, fence.attempt, request.chunks[0].part)
                for chunk in request.chunks:
                    piece = piece_of(chunk, fence.attempt, data)
                    received += len(piece.data)
                    if received > window.granted:
                        raise InvalidRequest("more of a result was sent than was granted")
                    self._dispatch.pushed(runner, fence.run, fence.attempt, fence.token, piece)
        finally:
            if granting is not None:
                granting.cancel()

    def _run(self, fence: session_pb2.Fence) -> Run:
        run = self._dispatch.current(PEER.get().name, fence.run, fence.attempt, fence.token)
        if run is None:
            raise RunUnknown
        return run


async def _behind_inline(run: Run, attempt: int, part: int) -> None:
    """Wait for the parts before this one that come on the session, since two connections keep no order between them.

    A runner that has begun to push sends no more parts on its session: only the first pushed one has to wait.
    """
    if run.inline_parts >= part:
        return
    arrived = asyncio.Event()
    run.on_inline_part = arrived.set
    run.watchers.add(arrived)
    try:
        async with asyncio.timeout(max(0.0, run.time_left_s())):
            while run.inline_parts < part and not run.ended and len(run.attempts) == attempt:
                arrived.clear()
                await arrived.wait()
    except TimeoutError:
        raise DeadlineExceeded from None
    finally:
        run.on_inline_part = None
        run.watchers.discard(arrived)


class _Window:
    """The credit of one attempt's result: a window beyond what has left for the caller."""

    def __init__(self, run: Run, attempt: int, budget: Budget) -> None:
        self._run = run
        self._budget = budget
        self._attempt = attempt
        self.granted = 0

    async def grant(self, context: Context) -> None:
        """Write a new total whenever a good part of the window has been taken."""
        run = self._run
        await self._reserve()
        run.on_taken = taken = asyncio.Event()
        while not run.ended and len(run.attempts) == self._attempt:
            taken.clear()
            total = run.result_taken + PUSH_WINDOW_BYTES
            if total - self.granted >= PUSH_WINDOW_BYTES // 2:
                self.granted = total
                credit = transfer_pb2.ByteCredit(total_bytes=total)
                await context.write(runner_service_pb2.PushResultResponse(credits=[credit]))
            await taken.wait()

    async def _reserve(self) -> None:
        """Make sure of the window's bytes: a run whose documents came inline has reserved no more than a small result."""
        run = self._run
        if run.push_reserved:
            return
        run.push_reserved = True
        await self._budget.reserve(PUSH_WINDOW_BYTES, grows=True)
        if run.ended:
            self._budget.release(PUSH_WINDOW_BYTES)
        else:
            run.reserved_bytes += PUSH_WINDOW_BYTES


async def _write(session: RunnerSession, context: Context) -> None:
    while items := await session.outbox.take():
        await context.write(session.envelope(items))


async def _read(session: RunnerSession, requests: AsyncIterator[Any]) -> None:
    async for request, data in requests:
        session.check(request.sequence, request.ack)
        session.handle(request.items, data)
