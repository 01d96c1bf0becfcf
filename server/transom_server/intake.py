"""Take runs in: check what is asked, reserve memory, and let the bytes come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from transom_wire.encoding import Bytes
from transom_wire.errors import (
    ActionUnknown,
    DeadlinePast,
    DocumentTooLarge,
    InvalidRequest,
    PolicyRefused,
    RunnerLost,
    ServerDraining,
    SizeMismatch,
    TooManyRuns,
    TransomError,
)  # fmt: skip
from transom_wire.limits import ASSIGN_INLINE_BYTES, INLINE_BYTES, PUSH_WINDOW_BYTES, RELAY_WINDOW_BYTES, RESULT_WINDOW_BYTES

from transom_server.budget import Budget, Room
from transom_server.dispatch import Dispatch
from transom_server.following import Follow, Followings
from transom_server.identity.caller import Caller
from transom_server.keys import Keyed
from transom_server.metrics import Metrics
from transom_server.offers import Offers
from transom_server.payload import Payload
from transom_server.run import Follower, Replay, Request, Run, State, Waiting, new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What intake accepts."""

    max_document_bytes: int
    max_runs: int
    default_timeout_s: float
    max_timeout_s: float
    max_detach_grace_s: float
    min_containment: int


class Intake:
    """The door for runs: whatever passes has a bounded size, a deadline, and a place in the memory budget."""

    def __init__(
        self, *, limits: Limits, offers: Offers, budget: Budget, dispatch: Dispatch, followings: Followings, metrics: Metrics
    ) -> None:
        self.followings = followings
        self._limits = limits
        self._offers = offers
        self._budget = budget
        self._dispatch = dispatch
        self._metrics = metrics
        self._reserving: set[asyncio.Task[None]] = set()
        self.draining = False
        metrics.held_bytes.set_function(lambda: budget.used_bytes)

    def complete(self, request: Request) -> Request:
        """Check what does not change while the server runs, and fill in its defaults.

        Raises:
            TransomError: The request asks for what this server never does.
        """
        largest = self._limits.max_document_bytes
        if any(document.size_bytes > largest for document in request.documents):
            raise DocumentTooLarge(metadata={"max_bytes": str(largest)})
        held = request.size_bytes if request.replay is Replay.SERVER_MEMORY else RELAY_WINDOW_BYTES
        if held + RESULT_WINDOW_BYTES > self._budget.total_bytes:
            raise DocumentTooLarge(metadata={"max_bytes": str(self._budget.total_bytes - RESULT_WINDOW_BYTES)})
        if not request.documents:
            raise InvalidRequest(violations=[("documents", "at least one document is needed")])
        if request.min_containment > 4:
            raise PolicyRefused
        timeout = request.timeout_s or self._limits.default_timeout_s
        if timeout <= 0:
            raise DeadlinePast
        containment = request.min_containment or self._limits.min_containment
        grace = min(request.detach_grace_s, self._limits.max_detach_grace_s)
        timeout = min(timeout, self._limits.max_timeout_s)
        return replace(request, timeout_s=timeout, min_containment=containment, detach_grace_s=grace)

    def start(
        self, caller: Caller, request: Request, follower: Follower, inline: Sequence[Bytes] = (), keyed: Keyed | None = None
    ) -> Run:  # fmt: skip
        """Accept a run whose request is complete; with `inline`, all its bytes are here already.

        A run with an idempotency key must not be known by it yet: `followings` tells.

        Raises:
            TransomError: The run is refused; nothing of it is kept.
        """
        if self.draining:
            raise ServerDraining
        if len(self._dispatch.runs) >= self._limits.max_runs:
            raise TooManyRuns
        self._check_action(request)
        keep = bool(inline) or request.replay is Replay.SERVER_MEMORY
        run: Run
        payload = Payload(
            [document.size_bytes for document in request.documents],
            keep=keep,
            window_bytes=RELAY_WINDOW_BYTES,
            granted=lambda total, number: run.sink.upload_credit(run, total, number),
        )
        run = Run(id=new_id(), tenant=caller.tenant, principal=caller.subject, request=request, sink=follower, payload=payload)
        if inline:
            payload.fill(inline)
        if keyed is not None or request.detach_grace_s:
            self.followings.tie(run, follower, keyed)
        self._dispatch.submit(run)
        run.sink.accepted(run)
        held = request.size_bytes if keep else min(request.size_bytes, RELAY_WINDOW_BYTES)
        # Small results come without credit; larger ones within a window, or into a room of their own.
        run.inline_result_bytes = INLINE_BYTES if inline else ASSIGN_INLINE_BYTES
        run.push_reserved = not inline
        result = INLINE_BYTES if inline else PUSH_WINDOW_BYTES
        if request.detach_grace_s:
            # All that may be kept for the next caller has its place from the start.
            run.push_reserved, result = True, RESULT_WINDOW_BYTES
        self._reserve(run, held + result)
        return run

    def follow(self, follow: Follow, follower: Follower, received: int, inline: Sequence[Bytes] = (), *, loose: bool = False) -> Run:
        """Let another caller follow a run, of whose result it has so many bytes.

        Documents that are not all here are sent by the new caller, from the beginning, in a pass of its own.

        Raises:
            InvalidRequest: What the caller lacks is not kept.
            SizeMismatch: The inline documents are not as declared.
        """
        run = follow.run
        if inline and [len(document) for document in inline] != [document.size_bytes for document in run.request.documents]:
            raise SizeMismatch
        follow.follow(follower, received, loose=loose)
        run.input_ended = False
        if run.ended or run.payload.complete:
            return run
        if inline:
            run.payload.fill_rest(inline)
            # A run that still waits for memory is queued once it has that.
            if run.reserved_bytes:
                self._dispatch.enqueue(run)
        else:
            run.sink.replay(run, run.payload.restart())
            run.payload.regrant()
        return run

    def room(self) -> Room:
        """Return an empty room in the memory budget, for a result that is gathered before it leaves."""
        return Room(self._budget)

    def append(self, run: Run, document: int, offset: int, data: Bytes, pass_number: int) -> None:
        """Take a chunk of a run's document; a chunk that breaks the rules ends the run."""
        if run.ended:
            return
        try:
            run.payload.append(document, offset, data, pass_number)
        except TransomError as error:
            self._dispatch.fail(run, State.FAILED, error)
            return
        if run.state is State.QUEUED and run.payload.complete and self._waits_for_bytes(run):
            self._dispatch.enqueue(run)

    def no_more(self, run: Run) -> None:
        """Note that the caller sends nothing more: a run without all its bytes ends."""
        run.input_ended = True
        if run.ended or run.payload.complete:
            return
        if run.payload.rewound:
            # They came once; it is the replay that cannot be finished.
            self._dispatch.fail(run, State.LOST, RunnerLost())
        else:
            self._dispatch.fail(run, State.FAILED, SizeMismatch())

    def _waits_for_bytes(self, run: Run) -> bool:
        """Whether the run is to be assigned only once its bytes are here, since they fit the assignment."""
        return run.request.size_bytes <= ASSIGN_INLINE_BYTES

    def _reserve(self, run: Run, size_bytes: int) -> None:
        if self._budget.try_reserve(size_bytes):
            self._reserved(run, size_bytes)
            return
        run.sink.waiting(run, Waiting.MEMORY)
        task = asyncio.create_task(self._reserve_later(run, size_bytes), name=f"reserve {run.id}")
        self._reserving.add(task)
        task.add_done_callback(self._reserving.discard)

    async def _reserve_later(self, run: Run, size_bytes: int) -> None:
        try:
            async with asyncio.timeout(max(0.0, run.time_left_s())):
                await self._budget.reserve(size_bytes)
        except TimeoutError:
            # The run's own deadline ends it.
            return
        self._reserved(run, size_bytes)

    def _reserved(self, run: Run, size_bytes: int) -> None:
        if run.ended:
            self._budget.release(size_bytes)
            return
        run.reserved_bytes = size_bytes
        if run.payload.complete:
            self._dispatch.enqueue(run)
            return
        run.payload.open()
        if not self._waits_for_bytes(run):
            self._dispatch.enqueue(run)

    def _check_action(self, request: Request) -> None:
        action = self._offers.find(request.action)
        if action is None:
            # Where no runner is connected at all, one with this action may still come.
            if self._offers.any_session:
                raise ActionUnknown
            return
        action.check_parameters(request.parameters)
        action.check_persistence(request.max_persistence)
        for document in request.documents:
            action.check_media_type(document.media_type)
            if action.max_bytes and document.size_bytes > action.max_bytes:
                raise DocumentTooLarge(metadata={"max_bytes": str(action.max_bytes)})
