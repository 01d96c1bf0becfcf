"""Carry runs through their life: the scheduler decides, the sessions speak, the outcomes end; this joins them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from transom_wire.errors import (
    Cancelled,
    ConcurrencyExceeded,
    DeadlineExceeded,
    NoRunner,
    RunLost,
    RunnerLost,
    RunnerRefused,
    RunUnknown,
    ServerDraining,
    Skipped,
    Superseded,
    TransomError,
)  # fmt: skip

from transom_server.outcomes import Outcomes
from transom_server.run import RANDOM, Attempt, Done, Evidence, Piece, Replay, Run, SideEffects, State, Waiting
from transom_server.scheduler import Cancel, Commands, DropReason, Offer, Placement, Row, Scheduler

log = logging.getLogger(__name__)

UNACCEPTED_AT_MOST = 5
"""Attempts that were never accepted do not count towards `max_attempts`; this bounds them."""


class Assignee(Protocol):
    """One runner's session, as far as dispatch needs it."""

    id: str
    runner: str

    def assign(self, run: Run, attempt: Attempt) -> None:
        """Give the runner an attempt."""

    def cancel(self, run: Run, attempt: Attempt) -> None:
        """Ask the runner to end an attempt."""

    def revoke(self, run: Run, attempt: Attempt) -> None:
        """Take back an attempt that was not answered."""

    def release(self, run: Run, attempt: Attempt) -> None:
        """Let the runner forget an attempt."""


class Dispatch:
    """Every live run, and what happens to it."""

    def __init__(
        self, scheduler: Scheduler, outcomes: Outcomes, *, accept_within_s: float, is_idempotent: Callable[[str], bool] = lambda _: False
    ) -> None:  # fmt: skip
        self._scheduler = scheduler
        self._outcomes = outcomes
        self._accept_within_s = accept_within_s
        self._is_idempotent = is_idempotent
        self._sessions: dict[str, Assignee] = {}
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at: float | None = None
        self.runs: dict[str, Run] = {}
        self.ended = 0
        """How many runs have ended so far."""
        self.idle = asyncio.Event()
        self.idle.set()
        self._later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    # A run's beginning and end.

    def submit(self, run: Run) -> None:
        """Take a run: it will have exactly one outcome."""
        self.runs[run.id] = run
        self.idle.clear()
        self._afterwards(self._begin, run)

    def _begin(self, run: Run) -> None:
        self._outcomes.begin(run)
        if not run.ended:
            run.deadline = asyncio.get_running_loop().call_later(max(0.0, run.time_left_s()), self._deadline, run)

    def _afterwards(self, do: Callable[..., None], *arguments: object) -> None:
        """Do what nobody waits for once the writers have had their turn: a runner or caller has its message by then."""
        if not self._later:
            loop = asyncio.get_running_loop()
            # A writer that is woken in this turn of the loop writes in the next.
            loop.call_soon(loop.call_soon, self._do_later)
        self._later.append((do, arguments))

    def _do_later(self) -> None:
        while self._later:
            do, arguments = self._later.popleft()
            do(*arguments)

    def enqueue(self, run: Run) -> None:
        """Let a run whose bytes can be read wait for a runner."""
        if run.ended:
            return
        run.state = State.QUEUED
        job, clock = run.job(), time.monotonic()
        self._obey(self._scheduler.submit(job, clock))
        if run.state is State.QUEUED:
            run.sink.waiting(run, self._scheduler.waiting(job, clock))

    def cancel(self, run: Run) -> None:
        """End a run because somebody wants it to end; its runner is told at once."""
        self.fail(run, State.CANCELLED, Cancelled())

    def fail(self, run: Run, state: State, error: TransomError) -> None:
        """End a run with an error, wherever it stands."""
        if run.ended:
            return
        attempt = run.attempt
        if attempt is not None:
            attempt.state, attempt.reason = state, error.reason
            self._tell_cancel(run, attempt)
        effects = attempt.side_effects if attempt is not None else SideEffects.NONE
        self._end(run, _unfinished(state, error, effects))

    def find(self, run_id: str, tenant: str) -> Run:
        """Return a live run of this tenant.

        Raises:
            RunUnknown: There is none; other tenants' runs are not confirmed either.
        """
        run = self.runs.get(run_id)
        if run is None or run.tenant != tenant:
            raise RunUnknown
        return run

    def drain(self) -> None:
        """End every run that still waits; running ones may finish."""
        for run in [run for run in self.runs.values() if run.state is State.QUEUED]:
            self.fail(run, State.REJECTED, ServerDraining())

    def _deadline(self, run: Run) -> None:
        if run.ended:
            return
        error = DeadlineExceeded()
        waits = run.state is State.QUEUED and not run.attempts
        if waits and self._scheduler.waiting(run.job(), time.monotonic()) is Waiting.NO_RUNNER:
            error = NoRunner()
        self.fail(run, State.DEADLINE_EXCEEDED, error)

    def _end(self, run: Run, done: Done) -> None:
        commands = self._scheduler.ended(run.id, time.monotonic())
        self.runs.pop(run.id, None)
        self._outcomes.finish(run, done)
        self._afterwards(self._ended, run)
        self._obey(commands)

    def _ended(self, run: Run) -> None:
        if run.deadline is not None:
            run.deadline.cancel()
        if run.attempts and (timer := run.attempts[-1].revoke) is not None:
            timer.cancel()
        self._outcomes.settle(run)
        self.ended += 1
        if not self.runs:
            self.idle.set()

    # What sessions report.

    def connect(self, session: Assignee, offer: Offer) -> None:
        """Add a runner's session."""
        self._sessions[session.id] = session
        self._obey(self._scheduler.connect(session.id, offer, time.monotonic()))

    def credit(self, session: Assignee, total_attempts: int, total_bytes: int) -> None:
        """Raise a session's credit."""
        self._obey(self._scheduler.credit(session.id, "", total_attempts, total_bytes, time.monotonic()))

    def drain_session(self, session: Assignee) -> None:
        """Give a session nothing more."""
        self._obey(self._scheduler.drain(session.id, time.monotonic()))

    def cordon(self, session: Assignee) -> None:
        """Give a session nothing new until its cordon is lifted."""
        self._obey(self._scheduler.cordon(session.id, time.monotonic()))

    def uncordon(self, session: Assignee) -> None:
        """Lift a cordon."""
        self._obey(self._scheduler.uncordon(session.id, time.monotonic()))

    def queue(self) -> list[Row]:
        """List what waits, by action and tenant."""
        return self._scheduler.queue(time.monotonic())

    def disconnect(self, session: Assignee, *, may_return: bool = False) -> int:
        """Forget a session: its attempts are lost, and tried again where that is safe.

        Args:
            session: The session.
            may_return: Its runner may come back: attempts that it had accepted wait for `adopt` or `lose`.

        Returns:
            How many wait.
        """
        self._sessions.pop(session.id, None)
        self._obey(self._scheduler.disconnect(session.id, time.monotonic()))
        waiting = 0
        for run, attempt in self._given_to(session.id):
            if may_return and attempt.accepted:
                waiting += 1
            else:
                self._lost(run)
        return waiting

    def adopt(self, former: Assignee, session: Assignee, fences: Iterable[tuple[str, int, int]]) -> frozenset[tuple[str, int, int]]:
        """Let a session go on with these attempts of a former one; returns which are still wanted. The others are lost."""
        self._sessions.pop(former.id, None)
        self._obey(self._scheduler.disconnect(former.id, time.monotonic()))
        wanted = set()
        for fence in fences:
            found = self._held(former, *fence)
            if found is not None:
                found[1].session = session.id
                wanted.add(fence)
        self.lose(former)
        return frozenset(wanted)

    def lose(self, session: Assignee) -> None:
        """Give up what waited for a session's runner."""
        for run, _ in self._given_to(session.id):
            self._lost(run)

    def _given_to(self, session: str) -> list[tuple[Run, Attempt]]:
        live = [(run, run.attempt) for run in self.runs.values()]
        return [(run, attempt) for run, attempt in live if attempt is not None and attempt.session == session]

    def replied(self, session: Assignee, run_id: str, number: int, token: int, *, accepted: bool) -> None:
        """Note that a runner took or refused an attempt."""
        found = self._held(session, run_id, number, token)
        if found is None:
            return
        run, attempt = found
        if accepted:
            # The timer that would revoke it sees this, and does nothing.
            attempt.accepted = True
            run.sink.started(run, attempt)
        else:
            attempt.state, attempt.reason = State.REJECTED, "RUNNER_REFUSED"
            self._again(run, attempt)

    def progressed(
        self, session: Assignee, run_id: str, number: int, token: int, *, side_effects: SideEffects, done: int, total: int
    ) -> bool:
        """Note how far an attempt is; false when it is not wanted any more."""
        found = self._held(session, run_id, number, token)
        if found is not None:
            run, attempt = found
            attempt.side_effects = max(attempt.side_effects, side_effects)
            if total or done:
                run.sink.progress(run, done, total)
        return found is not None

    def given(self, session: Assignee, run_id: str, number: int, token: int) -> Run | None:
        """Return the run whose newest attempt has this fence, if this session has it."""
        found = self._held(session, run_id, number, token)
        return found[0] if found is not None else None

    def pushed(self, runner: str, run_id: str, number: int, token: int, piece: Piece) -> None:
        """Pass a piece on that came beside the session."""
        run = self.current(runner, run_id, number, token)
        if run is not None:
            run.sink.result(run, piece)

    def done(self, session: Assignee, run_id: str, number: int, token: int, done: Done) -> None:
        """End a run as its attempt ended."""
        found = self._held(session, run_id, number, token)
        if found is None:
            return
        run, attempt = found
        if done.state is State.LOST:
            attempt.side_effects = max(attempt.side_effects, done.side_effects)
            session.release(run, attempt)
            self._lost(run)
            return
        attempt.state = done.state
        attempt.side_effects = done.side_effects
        attempt.reason = done.error.reason if done.error is not None else ""
        self._end(run, done)
        self._afterwards(session.release, run, attempt)

    def current(self, runner: str, run_id: str, number: int, token: int) -> Run | None:
        """Return the run whose newest attempt has this fence, if this runner has it."""
        found = self._current(run_id, number, token)
        return found[0] if found is not None and found[1].runner == runner else None

    def _held(self, session: Assignee, run_id: str, number: int, token: int) -> tuple[Run, Attempt] | None:
        # A fence is a secret of one runner; that it leaked must not let another speak for it.
        found = self._current(run_id, number, token)
        return found if found is not None and found[1].session == session.id else None

    def _current(self, run_id: str, number: int, token: int) -> tuple[Run, Attempt] | None:
        run = self.runs.get(run_id)
        attempt = run.attempt if run is not None else None
        if run is None or attempt is None or attempt.number != number or attempt.token != token:
            return None
        return run, attempt

    # Attempts.

    def _obey(self, commands: Commands) -> None:
        """Do what the scheduler decided, and let it be asked again when time alone may let it decide more."""
        for command in commands:
            run = self.runs.get(command.run)
            if run is None:
                continue
            if isinstance(command, Placement):
                self._assign(run, self._sessions[command.session])
            elif isinstance(command, Cancel) or command.reason is DropReason.SUPERSEDED:
                self.fail(run, State.CANCELLED, Superseded())
            else:
                self.fail(run, State.REJECTED, Skipped() if command.reason is DropReason.SKIPPED else ConcurrencyExceeded())
        wake_at = self._scheduler.wake_at()
        if wake_at != self._wake_at:
            self._set_wake(wake_at)

    def _set_wake(self, at: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = at
        self._wake = None if at is None else asyncio.get_running_loop().call_later(max(0.0, at - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._wake_at = self._wake = None
        self._obey(self._scheduler.tick(time.monotonic()))

    def _assign(self, run: Run, session: Assignee) -> None:
        clock = time.monotonic()
        attempt = Attempt(
            number=len(run.attempts) + 1, token=int.from_bytes(RANDOM.take(8)), session=session.id, runner=session.runner, started_at=clock
        )
        run.attempts.append(attempt)
        run.state = State.RUNNING
        run.result_taken = run.inline_result_taken = run.inline_parts = 0
        if not run.started_at:
            run.started_at, run.started_clock = time.time(), clock
        session.assign(run, attempt)
        self._afterwards(self._assigned, run, attempt)

    def _assigned(self, run: Run, attempt: Attempt) -> None:
        if not run.ended and not attempt.accepted:
            attempt.revoke = asyncio.get_running_loop().call_later(self._accept_within_s, self._unanswered, run, attempt)
        run.changed()

    def _unanswered(self, run: Run, attempt: Attempt) -> None:
        if run.ended or run.attempt is not attempt or attempt.accepted:
            return
        session = self._sessions.get(attempt.session)
        if session is not None:
            session.revoke(run, attempt)
        attempt.state, attempt.reason = State.REJECTED, "RUNNER_REFUSED"
        self._again(run, attempt)

    def _tell_cancel(self, run: Run, attempt: Attempt) -> None:
        session = self._sessions.get(attempt.session)
        if session is not None:
            session.cancel(run, attempt)

    def _lost(self, run: Run) -> None:
        attempt = run.attempts[-1]
        attempt.state, attempt.reason = State.LOST, "RUNNER_LOST"
        if attempt.side_effects is not SideEffects.NONE and not self._is_idempotent(run.request.action):
            self._end(run, _unfinished(State.LOST, RunLost(), attempt.side_effects))
        elif attempt.accepted and run.request.replay is Replay.NONE:
            self._end(run, _unfinished(State.LOST, RunnerLost(), attempt.side_effects))
        else:
            self._again(run, attempt)

    def _again(self, run: Run, attempt: Attempt) -> None:
        """Queue a run anew after an attempt that had no effect, if its bytes can be had again."""
        counted = sum(1 for one in run.attempts if one.accepted)
        exhausted = counted >= run.request.max_attempts or len(run.attempts) >= run.request.max_attempts + UNACCEPTED_AT_MOST
        replayable = run.payload.untouched or (run.request.replay is Replay.CALLER and not run.input_ended)
        if exhausted or not replayable:
            refused = attempt.state is State.REJECTED
            state, error = (State.FAILED, RunnerRefused()) if refused else (State.LOST, RunnerLost())
            self._end(run, _unfinished(state, error, attempt.side_effects))
            return
        if not run.payload.untouched:
            run.sink.replay(run, run.payload.rewind())
            run.payload.open()
        log.info("run.retried", extra={"run": run.id, "attempt": attempt.number, "reason": attempt.reason})
        self.enqueue(run)
        run.changed()


def _unfinished(state: State, error: TransomError, side_effects: SideEffects) -> Done:
    return Done(
        state=state, error=error, side_effects=side_effects, evidence=Evidence(), parts=0, pages=0, pages_failed=0, running_s=0.0
    )  # fmt: skip
