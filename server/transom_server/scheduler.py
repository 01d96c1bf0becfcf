"""Choose a runner for each run. Pure: events in, placements out; no clock, no I/O, and no byte of a document."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass

from transom_server.run import Waiting


@dataclass(frozen=True, slots=True)
class Need:
    """What a runner must offer to be given a run; runs with equal needs share a queue."""

    action: str
    min_containment: int
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run, as far as the scheduler may know it."""

    run: str
    need: Need
    size_bytes: int
    avoid: frozenset[str] = frozenset()
    """Sessions that did not take it before: the others come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one session's runner offers."""

    actions: frozenset[str]
    containment: int
    zone: str

    def meets(self, need: Need) -> bool:
        """Whether the runner may be given runs with this need."""
        return need.action in self.actions and self.containment >= need.min_containment and need.zone in {"", self.zone}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A run and the session that gets it."""

    run: str
    session: str


@dataclass(slots=True)
class _Session:
    """A session's offer and its credit: cumulative totals granted, and used."""

    offer: Offer
    granted_attempts: int = 0
    granted_bytes: int = 0
    used_attempts: int = 0
    used_bytes: int = 0
    capacity_bytes: int = 0
    draining: bool = False

    def covers(self, job: Job) -> bool:
        free = self.granted_bytes - self.used_bytes
        # A run larger than all of a runner's memory gets an idle runner to itself: its documents are streamed.
        fits = free >= job.size_bytes or free == self.capacity_bytes
        return not self.draining and self.free_attempts > 0 and fits

    @property
    def free_attempts(self) -> int:
        return self.granted_attempts - self.used_attempts


_Queue = OrderedDict[str, tuple[int, Job]]
"""Jobs with one need by run, oldest first, each with its number in order of arrival."""


class Scheduler:
    """Match queued jobs with sessions that have credit."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._queues: dict[Need, _Queue] = {}
        self._where: dict[str, Need] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._where)

    def submit(self, job: Job) -> Placement | None:
        """Queue a job, and place it at once where that is possible."""
        if job.need not in self._queues and (session := self._best(job)) is not None:
            return self._place(job, session)
        self._queues.setdefault(job.need, OrderedDict())[job.run] = (next(self._numbers), job)
        self._where[job.run] = job.need
        return None

    def withdraw(self, run: str) -> bool:
        """Take a job off its queue; false when it waits no more."""
        if run not in self._where:
            return False
        self._remove(run)
        return True

    def _remove(self, run: str) -> None:
        need = self._where.pop(run)
        queue = self._queues[need]
        del queue[run]
        if not queue:
            del self._queues[need]

    def waiting(self, need: Need) -> Waiting:
        """Say why a job with this need waits."""
        able = any(session.offer.meets(need) and not session.draining for session in self._sessions.values())
        return Waiting.BUSY if able else Waiting.NO_RUNNER

    def connect(self, session: str, offer: Offer) -> None:
        """Add a session, without credit yet."""
        self._sessions[session] = _Session(offer)

    def credit(self, session: str, total_attempts: int, total_bytes: int) -> list[Placement]:
        """Raise a session's credit to these totals; totals never fall."""
        known = self._sessions.get(session)
        if known is None:
            return []
        known.granted_attempts = max(known.granted_attempts, total_attempts)
        known.granted_bytes = max(known.granted_bytes, total_bytes)
        known.capacity_bytes = max(known.capacity_bytes, known.granted_bytes - known.used_bytes)
        return self._fill(session, known)

    def drain(self, session: str) -> None:
        """Give a session nothing more."""
        if session in self._sessions:
            self._sessions[session].draining = True

    def disconnect(self, session: str) -> None:
        """Forget a session."""
        self._sessions.pop(session, None)

    def offers(self, need: Need) -> bool:
        """Whether any session offers this, busy or not."""
        return any(session.offer.meets(need) for session in self._sessions.values())

    def _best(self, job: Job) -> str | None:
        able = [
            (name not in job.avoid, known.free_attempts, name)
            for name, known in self._sessions.items()
            if known.offer.meets(job.need) and known.covers(job)
        ]
        return max(able)[2] if able else None

    def _fill(self, session: str, known: _Session) -> list[Placement]:
        placed: list[Placement] = []
        while known.free_attempts > 0:
            heads = [next(iter(queue.values())) for need, queue in self._queues.items() if known.offer.meets(need)]
            if not heads:
                break
            _, job = min(heads, key=lambda head: head[0])
            if not known.covers(job):
                break
            self._remove(job.run)
            placed.append(self._place(job, session))
        return placed

    def _place(self, job: Job, session: str) -> Placement:
        known = self._sessions[session]
        known.used_attempts += 1
        known.used_bytes += job.size_bytes
        return Placement(run=job.run, session=session)
