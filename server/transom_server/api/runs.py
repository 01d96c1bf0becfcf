"""`transom.runs.v1.RunService`: the callers' RPCs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from transom.documents.v1 import document_pb2
from transom.runs.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc
from transom_wire import media
from transom_wire.encoding import Bytes
from transom_wire.errors import (
    DocumentEmpty,
    DocumentTooLarge,
    InvalidRequest,
    MemoryExhausted,
    ResultTooLarge,
    RunTakenOver,
    RunUnknown,
    TransomError,
)  # fmt: skip
from transom_wire.limits import INLINE_BYTES, UNARY_BYTES

from transom_server.api.caller_stream import CallerStream
from transom_server.api.convert import id_of, name_of, outcome_message, run_message
from transom_server.api.specs import Specs
from transom_server.budget import Room
from transom_server.dispatch import Dispatch
from transom_server.identity.caller import CURRENT, Caller
from transom_server.intake import Intake
from transom_server.keys import Keyed
from transom_server.ledger.book import Ledger
from transom_server.run import Attempt, Outcome, Piece, Request, Run, State, Waiting

BREAK_WITHIN_S = 0.1
"""How long after the end of a caller's items it may turn out that its connection broke."""
Context = grpc.aio.ServicerContext[Any, Any]


class RunService(run_service_pb2_grpc.RunServiceServicer):
    """Documents in, results out."""

    def __init__(self, *, intake: Intake, dispatch: Dispatch, ledger: Ledger, max_runs_per_stream: int) -> None:
        self._intake = intake
        self._dispatch = dispatch
        self._ledger = ledger
        self._max_runs = max_runs_per_stream
        self._specs = Specs(intake.complete)

    async def Process(self, request_iterator: AsyncIterator[Any], context: Context) -> None:  # type: ignore[override]  # it writes, and so yields nothing
        """Serve one caller's stream: this task reads, another writes, and neither waits for the other."""
        stream = CallerStream(CURRENT.get(), self._intake, self._dispatch, self._specs, max_runs=self._max_runs)
        writer = asyncio.create_task(_write(stream, context), name="process writer")
        reader = asyncio.create_task(_read(stream, request_iterator), name="process reader")
        try:
            pending: set[asyncio.Future[None]] = {writer, reader, stream.unread}
            while not writer.done():
                finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
                if stream.unread.done():
                    raise InvalidRequest("events are not read; the stream is dropped")
        finally:
            stream.abandon()
            reader.cancel()
            writer.cancel()

    async def Attach(self, request_iterator: AsyncIterator[Any], context: Context) -> None:  # type: ignore[override]  # it writes, and so yields nothing
        """Serve one caller that follows runs again: its envelopes are those of `Process`."""
        await self.Process(_without_starts(request_iterator), context)

    async def ProcessInline(self, request: run_service_pb2.ProcessInlineRequest, context: Context) -> run_service_pb2.ProcessInlineResponse:
        """Run an action on small documents, and wait."""
        spec = _inline_spec(request)
        asked = self._specs.request_of(spec)
        documents = [document.data for document in request.documents]
        collector = _Collector(self._intake.room())
        collector.on_full = lambda run, error: self._dispatch.fail(run, State.FAILED, error)
        run = await self._begin(asked, self._specs.keyed(CURRENT.get().tenant, spec), collector, documents)
        # The collector takes whatever comes at once, into its own room: no window has to be reserved beside it.
        run.push_reserved = True
        try:
            return collector.response(run, await collector.ended)
        finally:
            if run.following is not None:
                run.following.leave(collector)
            else:
                self._dispatch.cancel(run)
            collector.room.release()

    async def _begin(self, asked: Request, keyed: Keyed | None, collector: _Collector, documents: Sequence[Bytes]) -> Run:
        """Start a run, or follow the live one with the same key."""
        if keyed is None:
            return self._intake.start(CURRENT.get(), asked, collector, documents)
        followings = self._intake.followings
        follow = followings.by_key(keyed)
        if follow is None:
            await followings.keys.search(keyed)
            follow = followings.by_key(keyed)
        if follow is None:
            return self._intake.start(CURRENT.get(), asked, collector, documents, keyed)
        return self._intake.follow(follow, collector, 0, documents, loose=True)

    async def Get(self, request: run_service_pb2.GetRequest, context: Context) -> run_service_pb2.GetResponse:
        """Return what is remembered of one run."""
        return run_service_pb2.GetResponse(run=await self._find(request.name, CURRENT.get()))

    async def List(self, request: run_service_pb2.ListRequest, context: Context) -> run_service_pb2.ListResponse:
        """List runs, newest first: the ledger holds the live ones too."""
        runs, token = await self._ledger.list_runs(
            CURRENT.get().tenant, size=request.page_size, token=request.page_token, states=list(request.states), action=request.action
        )
        return run_service_pb2.ListResponse(runs=runs, next_page_token=token)

    async def Watch(self, request: run_service_pb2.WatchRequest, context: Context) -> None:  # type: ignore[override]  # it writes, and so yields nothing
        """Write the run whenever it changed, until it has ended."""
        caller = CURRENT.get()
        try:
            run = self._dispatch.find(id_of(request.name), caller.tenant)
        except RunUnknown:
            await context.write(run_service_pb2.WatchResponse(runs=[await self._find(request.name, caller)]))
            return
        changed = asyncio.Event()
        run.watchers.add(changed)
        try:
            while True:
                changed.clear()
                ended = run.ended
                await context.write(run_service_pb2.WatchResponse(runs=[run_message(run)]))
                if ended:
                    return
                await changed.wait()
        finally:
            run.watchers.discard(changed)

    async def Cancel(self, request: run_service_pb2.CancelRequest, context: Context) -> run_service_pb2.CancelResponse:
        """Cancel a run."""
        caller = CURRENT.get()
        try:
            run = self._dispatch.find(id_of(request.name), caller.tenant)
        except RunUnknown:
            return run_service_pb2.CancelResponse(run=await self._find(request.name, caller), was_live=False)
        self._dispatch.cancel(run)
        return run_service_pb2.CancelResponse(run=run_message(run), was_live=True)

    async def _find(self, name: str, caller: Caller) -> run_pb2.Run:
        run_id = id_of(name)
        try:
            return run_message(self._dispatch.find(run_id, caller.tenant))
        except RunUnknown:
            return await self._ledger.get_run(caller.tenant, run_id)


async def _write(stream: CallerStream, context: Context) -> None:
    while events := await stream.outbox.take():
        await context.write(b"".join([part for event in events for part in event.parts]))
        stream.written(events)


async def _read(stream: CallerStream, requests: AsyncIterator[tuple[run_service_pb2.ProcessRequest, memoryview | None]]) -> None:
    async for request, data in requests:
        stream.handle(request.items, data)
    if stream.lasts:
        # A connection that breaks looks like a half-close first; the call is cancelled right after.
        await asyncio.sleep(BREAK_WITHIN_S)
    stream.no_more()


def _inline_spec(request: run_service_pb2.ProcessInlineRequest) -> run_pb2.RunSpec:
    settings = request.settings
    if settings.HasField("target") or settings.documents or settings.HasField("parameters"):
        raise InvalidRequest(violations=[("settings", "its target, parameters and documents must be left empty")])
    if settings.HasField("detach_grace"):
        raise InvalidRequest(violations=[("settings.detach_grace", "must be left empty: nobody can attach to a unary call")])
    sizes = [len(document.data) for document in request.documents]
    if sum(sizes) > UNARY_BYTES:
        raise DocumentTooLarge(metadata={"max_bytes": str(UNARY_BYTES)})
    if not all(sizes):
        raise DocumentEmpty
    spec = run_pb2.RunSpec()
    spec.CopyFrom(settings)
    spec.target.CopyFrom(request.target)
    if request.HasField("parameters"):
        spec.parameters.CopyFrom(request.parameters)
    for document in request.documents:
        # Under a key, other bytes are another run.
        sha256 = hashlib.sha256(document.data).digest() if spec.idempotency_key else b""
        spec.documents.add(media_type=document.media_type, size_bytes=len(document.data), sha256=sha256)
    return spec


async def _without_starts(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if any(item.HasField("start") for item in request.items):
            raise InvalidRequest("runs are started by Process; Attach follows them")
        yield request, None


def _nothing(_: Run, __: TransomError) -> None:
    """Do nothing."""


class _Collector:
    """Gather a run's whole result for a unary answer. Implements `Sink`."""

    def __init__(self, room: Room) -> None:
        self.room = room
        """Holds a result that is not small; what is small has its place in the run's own reservation."""
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.on_full: Callable[[Run, TransomError], None] = _nothing
        self._parts: dict[int, list[Piece]] = {}
        self._attempt = 0
        self._size = 0

    def accepted(self, run: Run) -> None:
        """Nothing to tell yet."""

    def upload_credit(self, run: Run, total_bytes: int, pass_number: int) -> None:
        """Every byte is here already."""

    def waiting(self, run: Run, why: Waiting) -> None:
        """A unary caller waits anyway."""

    def started(self, run: Run, attempt: Attempt) -> None:
        """Forget what an earlier attempt sent."""
        if attempt.number != self._attempt:
            self._attempt, self._size = attempt.number, 0
            self._parts.clear()

    def progress(self, run: Run, done: int, total: int) -> None:
        """A unary caller sees the end only."""

    def replay(self, run: Run, pass_number: int) -> None:
        """Never asked: the bytes stay until the run ends."""

    def taken_over(self, run: Run) -> None:
        """End the wait: another caller has the result."""
        if not self.ended.done():
            self.ended.set_exception(RunTakenOver(metadata={"run": name_of(run.id)}))

    def result(self, run: Run, piece: Piece) -> None:
        """Keep a piece, unless all is too large by now, or the server has no memory left for it."""
        self._size += len(piece.data)
        fits = self._size <= INLINE_BYTES or (self._size <= UNARY_BYTES and self.room.fit(self._size))
        if not fits:
            self._parts.clear()
            self.on_full(run, ResultTooLarge() if self._size > UNARY_BYTES else MemoryExhausted())
            return
        self._parts.setdefault(piece.part, []).append(piece)
        run.taken(len(piece.data))

    def outcome(self, run: Run, outcome: Outcome) -> None:
        """End the wait."""
        if not self.ended.done():
            self.ended.set_result(outcome)

    def response(self, run: Run, outcome: Outcome) -> run_service_pb2.ProcessInlineResponse:
        """Make the answer; pages are told as pages, in order."""
        answer = run_service_pb2.ProcessInlineResponse(name=name_of(run.id), outcome=outcome_message(run, outcome))
        pages: list[tuple[int, int, bytes]] = []
        for pieces in self._parts.values():
            data = b"".join(piece.data for piece in pieces)
            first = pieces[0]
            if first.media_type == media.PAGE:
                pages.append((first.document, first.page, data))
            else:
                answer.parts.add(document=first.document, media_type=first.media_type, data=data)
        for document, _, data in sorted(pages):
            answer.pages.add(document=document, page=document_pb2.Page.FromString(data))
        return answer
