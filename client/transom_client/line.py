"""One run on a stream: what was heard of it, its result as it comes together, and the credit of both directions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError
from transom.documents.v1 import document_pb2
from transom.runs.v1 import run_service_pb2, transfer_pb2
from transom_wire import media
from transom_wire.errors import Internal, ResultTooLarge, RunUnknown, TransomError, Unavailable
from transom_wire.limits import MAX_DOCUMENT_BYTES, RESULT_WINDOW_BYTES

from transom_client.events import Accepted, AttemptStarted, Ended, Event, Outcome, PageDone, PartDone, Progress, Queued, outcome_of
from transom_client.pages import page_of
from transom_client.states import Waiting

Item = run_service_pb2.ProcessItem
Say = Callable[[Item, int], None]
"""Queues an item of a payload size for the stream's writer."""

CREDIT_STEP_BYTES: Final = RESULT_WINDOW_BYTES // 4


class Broken(Exception):
    """The connection broke while the run was live; `error` says how."""

    def __init__(self, error: TransomError) -> None:
        super().__init__(error.reason)
        self.error = error


@dataclass(slots=True)
class _Part:
    """A part of the result of which chunks are still to come."""

    document: int
    page: int
    media_type: str
    data: bytearray = field(default_factory=bytearray, repr=False)


class Line:
    """One run on a stream. The stream's reader tells it what it hears and never waits; the caller takes events."""

    def __init__(self, tag: int, say: Say, *, attempts_before: int = 0) -> None:
        self.tag = tag
        self.pass_number = 0
        self.ended = False
        self.written = False
        """Whether the run's start was handed to the connection."""
        self.attempt = attempts_before
        self._attempts_before = attempts_before
        self._told = attempts_before
        """The attempt whose start the caller was told."""
        self._say = say
        self.name = ""
        self.token = b""
        """What Attach asks for; empty when the run does not outlive its connection."""
        self.attaching = False
        """Whether the line was broken, and the server has not said yet that the run goes on."""
        self._events: deque[tuple[Event, int]] = deque()
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._parts: dict[int, _Part] = {}
        self._received = self._waiting = 0
        self._granted = RESULT_WINDOW_BYTES
        self._upload_credit = 0
        self._upload_changed = asyncio.Event()

    # What the caller takes.

    async def take(self) -> Event:
        """Wait for the next event; taking a part makes room for more of the result.

        Raises:
            Broken: The connection broke before the outcome.
            TransomError: The run cannot go on.
        """
        while not self._events:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()
        event, size = self._events.popleft()
        self._waiting -= size
        self._grant()
        return event

    def fail(self, failure: Exception) -> None:
        """Let the caller fail, once it has taken what was heard before."""
        if not self.ended and self._failure is None:
            self._failure = failure
            self._changed.set()
            self._upload_changed.set()

    def attach(self, tag: int, say: Say) -> Item:
        """Go on with the run on another stream; returns what is to be said there first."""
        self.tag, self._say = tag, say
        self.attaching = True
        self._failure = None
        # The server asks for what it lacks in a pass of its own.
        self._upload_credit = 0
        asked = run_service_pb2.AttachRun(name=self.name, token=self.token, result_bytes=self._received)
        return Item(tag=tag, attach=asked)

    # What the uploader asks for.

    async def upload_room(self, pass_number: int, sent_bytes: int) -> int:
        """Wait until more than `sent_bytes` may have been sent in this pass; returns how many more, 0 when the pass is void."""
        while self.pass_number == pass_number and self._upload_credit <= sent_bytes:
            self._upload_changed.clear()
            await self._upload_changed.wait()
        return self._upload_credit - sent_bytes if self.pass_number == pass_number else 0

    async def next_pass(self, pass_number: int) -> None:
        """Wait until the documents are to be sent in another pass."""
        while self.pass_number == pass_number:
            self._upload_changed.clear()
            await self._upload_changed.wait()

    # What the stream hears.

    def hear(self, event: run_service_pb2.ProcessEvent) -> None:
        """Act on one event of the server."""
        kind = event.WhichOneof("event")
        if kind == "result":
            self._assemble(event.result)
        elif kind == "upload_credit":
            self._credit(event.upload_credit)
        elif kind == "replay":
            self.pass_number, self._upload_credit = getattr(event.replay, "pass"), 0
            self._upload_changed.set()
        elif kind == "attempt":
            self._start(event.attempt.attempt + self._attempts_before, event.attempt.runner)
        elif kind == "accepted":
            self._accept(event.accepted)
        elif kind == "queued":
            self._put(Queued(reason=Waiting(event.queued.reason)))
        elif kind == "progress":
            self._progress(Progress(done=event.progress.done, total=event.progress.total))
        elif kind == "outcome":
            self._end(outcome_of(event.outcome))

    def _accept(self, accepted: run_service_pb2.Accepted) -> None:
        if not self.attaching:
            self._put(Accepted(run=accepted.name))
        self.name, self.token = accepted.name, accepted.token
        self.attaching = False
        if accepted.joined:
            # What did not come before this was of a void attempt; the room begins anew.
            self._received = accepted.result_bytes
            self._granted = self._received + RESULT_WINDOW_BYTES

    def _start(self, attempt: int, runner: str) -> None:
        if attempt == self.attempt and attempt == self._told:
            # It was told before the connection broke.
            return
        self._begin(attempt)
        self._told = attempt
        self._put(AttemptStarted(attempt=attempt, runner=runner))

    def _end(self, outcome: Outcome) -> None:
        if self.attaching and outcome.error is not None and outcome.error.reason == RunUnknown.reason:
            # The server is another by now, or the grace was over.
            self.token, self.attaching = b"", False
            self.fail(Broken(Unavailable("the connection was lost, and the run with it")))
            return
        self.ended = True
        if self.token:
            self._say(Item(tag=self.tag, result_credit=transfer_pb2.ByteCredit(total_bytes=self._granted, ended=True)), 0)
        self._put(Ended(outcome=outcome))

    def _put(self, event: Event, size_bytes: int = 0) -> None:
        self._events.append((event, size_bytes))
        self._waiting += size_bytes
        self._changed.set()

    def _progress(self, event: Progress) -> None:
        # Only the latest matters: a caller that is slow does not let them pile up.
        if self._events and isinstance(self._events[-1][0], Progress):
            self._events.pop()
        self._put(event)

    def _begin(self, attempt: int) -> None:
        """Let go what earlier attempts sent, as far as it was not taken yet."""
        if attempt == self.attempt:
            return
        self.attempt = attempt
        self._parts.clear()
        self._events = deque(one for one in self._events if not isinstance(one[0], (PageDone, PartDone)))
        self._waiting = 0
        self._grant()

    def _credit(self, credit: transfer_pb2.ByteCredit) -> None:
        if getattr(credit, "pass") == self.pass_number and credit.total_bytes > self._upload_credit:
            self._upload_credit = credit.total_bytes
            self._upload_changed.set()

    # The result.

    def _assemble(self, chunk: transfer_pb2.ResultChunk) -> None:
        attempt = chunk.attempt + self._attempts_before
        if attempt > self.attempt:
            self._begin(attempt)
        self._received += len(chunk.data)
        if attempt < self.attempt:
            self._grant()
            return
        part = self._parts.setdefault(chunk.part, _Part(chunk.document, chunk.page, chunk.media_type))
        if chunk.offset != len(part.data):
            self.fail(Internal("the server sent a result with a gap or an overlap"))
            return
        part.data += chunk.data
        if len(part.data) > MAX_DOCUMENT_BYTES:
            self.fail(ResultTooLarge("a part of the result is larger than this client takes"))
        elif chunk.last:
            del self._parts[chunk.part]
            self._finish(part)
        else:
            # Bytes of an unfinished part count as taken: a part may be larger than the window.
            self._grant()

    def _finish(self, part: _Part) -> None:
        size = len(part.data)
        if part.media_type != media.PAGE:
            done = PartDone(
                document=part.document, page=part.page, media_type=part.media_type, data=bytes(part.data), attempt=self.attempt
            )  # fmt: skip
            self._put(done, size)
            return
        try:
            page = page_of(document_pb2.Page.FromString(bytes(part.data)))
        except (DecodeError, ValueError):
            self.fail(Internal("the server sent a page that cannot be read; this client may be too old for it"))
            return
        self._put(PageDone(document=part.document, page=page, attempt=self.attempt), size)

    def _grant(self) -> None:
        room = self._received - self._waiting + RESULT_WINDOW_BYTES
        if not self.ended and room - self._granted >= CREDIT_STEP_BYTES:
            self._granted = room
            self._say(Item(tag=self.tag, result_credit=transfer_pb2.ByteCredit(total_bytes=room)), 0)
