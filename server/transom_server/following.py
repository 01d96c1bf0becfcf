"""Tie a run to whoever follows it: one caller after another, with what the next one needs kept in between."""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace
from transom_wire.errors import InvalidRequest, RunUnknown, TooManyRuns

from transom_server.budget import Budget
from transom_server.keys import Keyed, Keys, standing
from transom_server.run import RANDOM, Attempt, Follower, Outcome, Piece, Run, State, Waiting

TOKEN_BYTES: Final = 32


class Follow:
    """One run's tie to its follower. Implements `Sink` and `Following`.

    Offsets count the bytes of a result over all attempts, as a caller's credit does. With a grace, a piece is kept until the
    follower confirms it; the runner gets no further credit before. So at most its window and an inline result are kept.
    """

    def __init__(self, run: Run, follower: Follower, runs: Followings) -> None:
        self.run = run
        self.token = RANDOM.take(TOKEN_BYTES)
        self.joined = False
        self.resumes_at = 0
        self._follower: Follower | None = follower
        self._runs = runs
        self._grace_s = run.request.detach_grace_s
        self._kept: deque[tuple[int, Piece]] = deque()
        """Pieces that are not confirmed, each with the offset of its end."""
        self._end = 0
        self._confirmed = 0
        self._attempt = 0
        self._loose = False
        self.over = False
        self._reserved = 0
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Follow({self.run.id}, {self.kept_bytes} bytes kept)"

    @property
    def keeps(self) -> bool:
        """Whether the result is kept until the follower confirms it."""
        return self._grace_s > 0 and not self._loose

    @property
    def kept_bytes(self) -> int:
        """Bytes of the result that are kept."""
        return sum(len(piece.data) for _, piece in self._kept)

    # What happens to the run.

    def accepted(self, run: Run) -> None:
        """Pass it on."""
        if self._follower is not None:
            self._follower.accepted(run)

    def upload_credit(self, run: Run, total_bytes: int, pass_number: int) -> None:
        """Pass it on."""
        if self._follower is not None:
            self._follower.upload_credit(run, total_bytes, pass_number)

    def waiting(self, run: Run, why: Waiting) -> None:
        """Pass it on."""
        if self._follower is not None:
            self._follower.waiting(run, why)

    def started(self, run: Run, attempt: Attempt) -> None:
        """Pass it on."""
        if self._follower is not None:
            self._follower.started(run, attempt)

    def progress(self, run: Run, done: int, total: int) -> None:
        """Pass it on."""
        if self._follower is not None:
            self._follower.progress(run, done, total)

    def replay(self, run: Run, pass_number: int) -> None:
        """Pass it on; a caller that comes later is asked to send again in any case."""
        if self._follower is not None:
            self._follower.replay(run, pass_number)

    def result(self, run: Run, piece: Piece) -> None:
        """Pass a piece on, and keep it; pieces of an earlier attempt are void."""
        if piece.attempt != self._attempt:
            self._attempt = piece.attempt
            self._kept.clear()
        self._end += len(piece.data)
        if self.keeps:
            self._kept.append((self._end, piece))
        else:
            self._confirmed = self._end
        if self._follower is not None:
            self._follower.result(run, piece)

    def outcome(self, run: Run, outcome: Outcome) -> None:
        """Pass the end on, and keep what is not confirmed for the grace, in what the run had reserved."""
        if outcome.state is not State.SUCCEEDED:
            self._kept.clear()
        self._reserved = min(self.kept_bytes, run.reserved_bytes)
        run.reserved_bytes -= self._reserved
        if run.key_hash:
            self._runs.keys.end(run)
        if self._follower is not None:
            self._follower.outcome(run, outcome)
        if self.over or not self.keeps:
            self._finish()
        elif self._timer is None:
            self._wait()

    # What followers do.

    def check(self, received: int) -> None:
        """See whether a caller that has so many bytes of the result can follow.

        Raises:
            InvalidRequest: What it lacks is not kept, or it never came.
        """
        if not self._confirmed <= received <= self._end:
            raise InvalidRequest(violations=[("result_bytes", "must be what came: not less than was confirmed, which is not kept")])

    def follow(self, follower: Follower, received: int, *, loose: bool = False) -> None:
        """Let another caller follow from here on; with `loose` it confirms nothing but takes.

        Raises:
            InvalidRequest: See `check`.
        """
        self.check(received)
        self.confirm(received)
        run, older = self.run, self._follower
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pieces = [_rest(end, piece, received) for end, piece in self._kept if end > received]
        self.joined = True
        self.resumes_at = self._end - sum(len(piece.data) for piece in pieces)
        self._follower, self._loose = follower, loose
        if older is not None:
            older.taken_over(run)
        if loose:
            self.loosen(received)
        follower.accepted(run)
        if run.attempts and run.attempts[-1].accepted:
            follower.started(run, run.attempts[-1])
        for piece in pieces:
            follower.result(run, piece)
        if run.outcome is not None:
            follower.outcome(run, run.outcome)
            if self.keeps:
                self._wait()
            else:
                self._finish()

    def confirm(self, size_bytes: int, *, ended: bool = False) -> None:
        """Let go of what the follower has, and let the runner send more."""
        if self.keeps:
            while self._kept and self._kept[0][0] <= size_bytes:
                _, piece = self._kept.popleft()
                if piece.attempt == len(self.run.attempts):
                    self.run.taken(len(piece.data))
            self._confirmed = max(self._confirmed, min(size_bytes, self._end))
        if ended and self.run.ended:
            self._finish()

    def loosen(self, sent_bytes: int) -> None:
        """Keep nothing more for this follower, which was sent so many bytes: it takes what it is given."""
        self.confirm(sent_bytes)
        self._loose = True
        self._kept.clear()
        self._confirmed = self._end

    def leave(self, follower: Follower) -> None:
        """Go on without a follower for the grace, if the one that left was the last; without grace, cancel."""
        if follower is not self._follower:
            return
        self._follower = None
        self._loose = False
        if self._grace_s <= 0:
            self._runs.cancel(self.run)
        elif self._timer is None and not self.over:
            self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._grace_s, self._expire)

    def _expire(self) -> None:
        self.over = True
        if self.run.ended:
            self._finish()
        else:
            self._runs.cancel(self.run)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.over = True
        self._kept.clear()
        self._runs.budget.release(self._reserved)
        self._reserved = 0
        self._runs.forget(self)


class Followings:
    """The runs that another caller may come to follow: by their key, or by name and token."""

    def __init__(self, keys: Keys, budget: Budget, cancel: Callable[[Run], None], *, max_runs: int) -> None:
        self.keys = keys
        self.budget = budget
        self.cancel = cancel
        self._max_runs = max_runs
        self._follows: dict[str, Follow] = {}

    def __len__(self) -> int:
        return len(self._follows)

    def tie(self, run: Run, follower: Follower, keyed: Keyed | None) -> None:
        """Let a new run be followed by one caller after another.

        Raises:
            TooManyRuns: As many wait to be followed as may be live.
        """
        if len(self._follows) >= self._max_runs:
            raise TooManyRuns
        if keyed is not None:
            self.keys.add(keyed, run)
        run.sink = run.following = self._follows[run.id] = Follow(run, follower, self)

    def by_key(self, keyed: Keyed) -> Follow | None:
        """Return the live run of a key, if a caller that has nothing of it can still have all of it.

        Raises:
            KeyReused: The key belongs to another run.
            RunExists: The run has ended, or a part of its result is gone.
        """
        run = self.keys.find(keyed)
        if run is None:
            return None
        follow = self._follows[run.id]
        try:
            follow.check(0)
        except InvalidRequest:
            raise standing(run).error() from None
        return follow

    def by_token(self, run_id: str, token: bytes, tenant: str) -> Follow:
        """Return a run that waits for Attach, or may come to.

        Raises:
            RunUnknown: There is none of this name, tenant and token; which of them is wrong is not told.
        """
        follow = self._follows.get(run_id)
        known = follow is not None and follow.run.tenant == tenant and follow.run.request.detach_grace_s > 0
        if not hmac.compare_digest(follow.token if follow is not None else bytes(TOKEN_BYTES), token) or follow is None or not known:
            raise RunUnknown
        return follow

    def forget(self, follow: Follow) -> None:
        """Let no more caller follow a run."""
        self._follows.pop(follow.run.id, None)


def _rest(end: int, piece: Piece, received: int) -> Piece:
    """Leave out what the caller has of a piece."""
    has = received - (end - len(piece.data))
    return piece if has <= 0 else replace(piece, data=memoryview(piece.data)[has:], offset=piece.offset + has)
