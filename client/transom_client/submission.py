"""Carry one run from its start to its outcome, also when the connection breaks in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Final, TypeVar

from transom.plugins.v1 import action_service_pb2
from transom.runs.v1 import run_service_pb2
from transom_wire.errors import ActionUnknown, DeadlineExceeded, TransomError, Unavailable

from transom_client.connection import Connection
from transom_client.documents import Given, Measured, measure
from transom_client.events import Ended, Event, Outcome
from transom_client.line import Broken, Line
from transom_client.request import Request
from transom_client.states import RunState, SideEffects
from transom_client.stream import ProcessStream, fits_inline

T = TypeVar("T")

GRACE_S: Final = 10.0
"""How long after the run's own deadline this end goes on listening: the server tells the outcome."""
CANCEL_WITHIN_S: Final = 1.0
RECONNECT_WITHIN_S: Final = 10.0
BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 1.0
MAX_RESENDS: Final = 2


class Submission:
    """One run, as its caller follows it."""

    def __init__(self, connection: Connection, request: Request, documents: Sequence[Given]) -> None:
        self._connection = connection
        self._request = request
        self._given = documents
        self._documents: Sequence[Measured] = ()
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + request.timeout_s + GRACE_S
        self._reconnect_until = 0.0
        self._backoff_s = BACKOFF_S
        self._resends = 0
        self._attach_until = 0.0

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what happens to the run; leaving early cancels it.

        Raises:
            TransomError: The server cannot be reached or refused the stream, or a document cannot be read.
        """
        self._documents = [await measure(one) for one in self._given]
        start = await self._start()
        await self._within(self._connection.places.acquire())
        try:
            line: Line | None = None
            while True:
                stream = await self._connection.stream()
                line = self._open(stream, start, line)
                try:
                    while not isinstance(event := await self._within(line.take()), Ended):
                        yield event
                    yield event
                    return
                except Broken as broken:
                    lost = await self._after_break(stream, line, broken.error)
                finally:
                    await _leave(stream, line)
                if lost is not None:
                    yield Ended(outcome=lost)
                    return
        finally:
            self._connection.places.release()

    def _open(self, stream: ProcessStream, start: run_service_pb2.StartRun, before: Line | None) -> Line:
        """Start the run, or go on with it where it outlived its connection."""
        chunked = () if start.inline_documents else self._documents
        if before is not None and before.token:
            stream.attach_line(before, chunked)
            return before
        return stream.open_line(start, chunked, attempts_before=before.attempt if before is not None else 0)

    async def _start(self) -> run_service_pb2.StartRun:
        start = run_service_pb2.StartRun(spec=self._request.spec(self._documents))
        if fits_inline(self._documents):
            start.inline_documents.extend([await document.whole() for document in self._documents])
        return start

    async def _within(self, wait: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await wait
        except TimeoutError:
            raise DeadlineExceeded from None

    # After a break.

    async def _after_break(self, stream: ProcessStream, line: Line, error: TransomError) -> Outcome | None:
        """Wait until the run can be attached to or sent again; or return the outcome of one that must not be.

        Raises:
            TransomError: The server cannot be reached, and never had the run.
        """
        # A server that was there once may be starting anew, also for a run that it never had.
        if stream.connected or (self._connection.was_connected and not self._reconnect_until):
            self._reconnect_until = self._loop.time() + RECONNECT_WITHIN_S
            self._backoff_s = BACKOFF_S
            self._attach_until = self._loop.time() + self._request.detach_grace_s
        if line.token and await self._can_attach(error):
            return None
        line.token = b""
        if not line.written:
            await self._back_off(error)
            return None
        self._resends += 1
        if self._resends <= MAX_RESENDS and await self._may_resend():
            return None
        return _lost()

    async def _can_attach(self, error: TransomError) -> bool:
        """Wait a moment, unless the grace is over."""
        self._reconnect_until = max(self._reconnect_until, self._attach_until)
        if self._loop.time() + self._backoff_s > self._attach_until:
            return False
        try:
            await self._back_off(error)
        except TransomError:
            return False
        return True

    async def _may_resend(self) -> bool:
        if self._request.resend is not None:
            return self._request.resend
        name = action_service_pb2.GetActionRequest(name=f"actions/{self._request.action}")
        while True:
            try:
                answer = await self._connection.ask(self._connection.actions.GetAction, name)
                return answer.action.idempotent
            except (Unavailable, ActionUnknown) as error:
                # A server that has just started waits for its runners itself.
                try:
                    await self._back_off(error)
                except TransomError:
                    return False

    async def _back_off(self, error: TransomError) -> None:
        if self._loop.time() + self._backoff_s > min(self._reconnect_until, self._deadline):
            raise error
        await asyncio.sleep(self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)


async def _leave(stream: ProcessStream, line: Line) -> None:
    """Cancel a run that has not ended, and wait a moment for its outcome."""
    try:
        if not line.ended and stream.failure is None:
            stream.cancel(line)
            async with asyncio.timeout(CANCEL_WITHIN_S):
                while not isinstance(await line.take(), Ended):
                    pass
    except (TimeoutError, Broken, TransomError):
        return
    finally:
        stream.forget(line)


def _lost() -> Outcome:
    error = Unavailable("the connection was lost while the run was live; check for effects outside before you send it again")
    return Outcome(state=RunState.LOST, error=error, side_effects=SideEffects.UNKNOWN)
