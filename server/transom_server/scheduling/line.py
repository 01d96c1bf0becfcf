"""The jobs that wait for one kind of runner, in the order of their turns: class, then tenant, then age.

A line holds lanes: jobs alike in all but age, so that only the first of each matters. A lane's class is that of its first job,
which rises with time. In each class the tenant goes first that was served least recently, with its oldest job.

What follows, for jobs that could be placed: a tenant is passed by each other at most once between two turns of its own, since
whoever passes was served less recently, and is then served most recently. A job of priority p is passed by more urgent ones for
at most p - 1 steps of ageing; then it is among the most urgent, where only turns and its tenant's older jobs are before it. A
job that does not fit is passed by smaller ones for at most p steps; then, at its turn, an account is kept for it alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from transom_server.scheduling.credit import Account
from transom_server.scheduling.job import LEAST_URGENT, MOST_URGENT, Job, Need
from transom_server.scheduling.limits import Bucket, Gates, Slots

SMALL_BITS = 16


def size_class(size_bytes: int) -> int:
    """Group sizes by powers of two, small ones together: a job that does not fit keeps none waiting that is half as large."""
    return max(0, size_bytes.bit_length() - SMALL_BITS)


class Ageing(NamedTuple):
    """How waiting makes a job more urgent."""

    step_s: float
    """A job rises one class for each of these that it has waited."""

    def class_of(self, entry: Entry, now_s: float) -> tuple[int, float]:
        """Tell a waiting job's class, and when it rises to the next."""
        steps = 0
        while entry.priority - steps > MOST_URGENT and now_s >= entry.since_s + (steps + 1) * self.step_s:
            steps += 1
        return entry.priority - steps, entry.since_s + (steps + 1) * self.step_s

    def overdue(self, entry: Entry, now_s: float) -> bool:
        """Whether a job has been in the most urgent class for a whole step."""
        return now_s >= entry.since_s + entry.priority * self.step_s


class Entry:
    """A job that waits, and where."""

    __slots__ = ("job", "lane", "number", "priority", "since_s")

    def __init__(self, job: Job, number: int, since_s: float) -> None:
        self.job = job
        self.number = number
        self.since_s = since_s
        self.priority = max(MOST_URGENT, min(LEAST_URGENT, job.priority))
        self.lane: Lane


class Found(NamedTuple):
    """A job and its place in the order of turns. Numbers are unique: entries are never compared."""

    rank: int
    served: int
    number: int
    entry: Entry


class Lane:
    """Jobs of one line that share tenant, priority and limits, oldest first."""

    __slots__ = ("blocked_by", "first", "gates", "jobs", "key", "line", "rank", "rises_at_s", "tenant")

    def __init__(self, line: Line, key: Hashable, tenant: str, gates: Gates) -> None:
        self.line = line
        self.key = key
        self.tenant = tenant
        self.gates = gates
        self.jobs: OrderedDict[str, Entry] = OrderedDict()
        self.first: Entry | None = None
        """The job that stands for the lane in its class, while the lane stands in one."""
        self.rank = 0
        self.rises_at_s = 0.0
        self.blocked_by: Slots | Bucket | None = None


class _Turns:
    """One tenant's lanes in one class, by the age of their first jobs."""

    __slots__ = ("key", "lanes")

    def __init__(self) -> None:
        self.lanes: list[tuple[int, Lane]] = []
        self.key: tuple[int, int, str] | None = None
        """Where the tenant stands among the others: when it was served, and its oldest job's number; at most what it is now."""


class _Class:
    """One class of a line: tenants, the one whose turn it is first."""

    __slots__ = ("_order", "_served", "_tenants")

    def __init__(self, served: dict[str, int]) -> None:
        self._served = served
        self._order: list[tuple[int, int, str]] = []
        self._tenants: dict[str, _Turns] = {}

    def add(self, lane: Lane, number: int) -> None:
        turns = self._tenants.get(lane.tenant) or self._tenants.setdefault(lane.tenant, _Turns())
        insort(turns.lanes, (number, lane))
        if turns.key is None or number < turns.key[1]:
            self._stand(lane.tenant, turns)

    def remove(self, lane: Lane, number: int) -> None:
        turns = self._tenants[lane.tenant]
        del turns.lanes[bisect_left(turns.lanes, (number, lane))]
        if not turns.lanes:
            self._stand(lane.tenant, turns)
            del self._tenants[lane.tenant]

    def _stand(self, tenant: str, turns: _Turns) -> None:
        if turns.key is not None:
            del self._order[bisect_left(self._order, turns.key)]
        turns.key = (self._served.get(tenant, 0), turns.lanes[0][0], tenant) if turns.lanes else None
        if turns.key is not None:
            insort(self._order, turns.key)

    def first(self) -> tuple[int, int, Lane] | None:
        while self._order:
            served, number, tenant = self._order[0]
            turns = self._tenants[tenant]
            # Being served, and losing the oldest job, only moves a tenant back: that is noticed when it comes to the front.
            if served == self._served.get(tenant, 0) and number == turns.lanes[0][0]:
                return served, number, turns.lanes[0][1]
            self._stand(tenant, turns)
        return None


class Line:
    """The jobs that share what they need and their size class."""

    def __init__(self, need: Need, ageing: Ageing, served: dict[str, int]) -> None:
        self.need = need
        self.able: set[Account] = set()
        """The accounts that may pay for its jobs; the scheduler keeps it up to date."""
        self.holder: Account | None = None
        """The account that is kept for this line's overdue job."""
        self.lanes: dict[Hashable, Lane] = {}
        self._ageing = ageing
        self._served = served
        self._classes = [_Class(served) for _ in range(LEAST_URGENT + 1)]
        self._rises: list[tuple[float, int, Lane]] = []
        self._sizes: list[int] = []

    @property
    def smallest_bytes(self) -> int:
        """The size of the smallest job, which may be blocked."""
        return self._sizes[0]

    def add(self, entry: Entry, lane: Lane, now_s: float) -> None:
        """Let a job wait at the end of one of this line's lanes."""
        entry.lane = lane
        lane.jobs[entry.job.run] = entry
        insort(self._sizes, entry.job.size_bytes)
        if len(lane.jobs) == 1 and lane.blocked_by is None:
            self._stand(lane, now_s)

    def remove(self, entry: Entry, now_s: float) -> None:
        """Take a job off its lane."""
        lane = entry.lane
        del lane.jobs[entry.job.run]
        del self._sizes[bisect_left(self._sizes, entry.job.size_bytes)]
        if lane.first is entry:
            self.step_out(lane)
            self._stand(lane, now_s)
        if not lane.jobs:
            del self.lanes[lane.key]

    def step_in(self, lane: Lane, now_s: float) -> None:
        """Let a lane that was blocked take its turns again."""
        lane.blocked_by = None
        self._stand(lane, now_s)

    def step_out(self, lane: Lane) -> None:
        """Let a lane take no turns."""
        if lane.first is not None:
            number = lane.first.number
            self._classes[lane.rank].remove(lane, number)
            if lane.rank > MOST_URGENT:
                del self._rises[bisect_left(self._rises, (lane.rises_at_s, number, lane))]
            lane.first = None

    def _stand(self, lane: Lane, now_s: float) -> None:
        first = next(iter(lane.jobs.values()), None)
        if first is None:
            return
        lane.first = first
        lane.rank, lane.rises_at_s = self._ageing.class_of(first, now_s)
        self._classes[lane.rank].add(lane, first.number)
        if lane.rank > MOST_URGENT:
            insort(self._rises, (lane.rises_at_s, first.number, lane))

    def first(self, now_s: float) -> Found | None:
        """Return the job whose turn it is, whether or not it may pass its gates."""
        while self._rises and self._rises[0][0] <= now_s:
            lane = self._rises[0][2]
            self.step_out(lane)
            self._stand(lane, now_s)
        for rank, one in enumerate(self._classes):
            found = one.first()
            if found is not None and found[2].first is not None:
                return Found(rank, found[0], found[1], found[2].first)
        return None

    def first_in(self, lane: Lane, room_bytes: float, now_s: float) -> Found | None:
        """Return a lane's first job that is no larger than this."""
        for entry in lane.jobs.values():
            if entry.job.size_bytes <= room_bytes:
                return self.turn_of(entry, now_s)
        return None

    def turn_of(self, entry: Entry, now_s: float) -> Found:
        """Tell a job's place in the order of turns."""
        return Found(self._ageing.class_of(entry, now_s)[0], self._served.get(entry.lane.tenant, 0), entry.number, entry)

    def overdue(self, entry: Entry, now_s: float) -> bool:
        """Whether a job has waited so long that an account may be kept for it."""
        return self._ageing.overdue(entry, now_s)


def first_turn(groups: Iterable[Iterable[Lane]], now_s: float) -> Found | None:
    """Return the job whose turn it is among groups of lanes that take no turns now, each group of one tenant."""
    found: list[Found] = []
    for lanes in groups:
        oldest: dict[int, Entry] = {}
        for lane in lanes:
            entry = next(iter(lane.jobs.values()))
            known = oldest.get(entry.priority)
            if known is None or entry.number < known.number:
                oldest[entry.priority] = entry
        # Of one tenant and priority, the oldest job is never of a lower class than another.
        found += [entry.lane.line.turn_of(entry, now_s) for entry in oldest.values()]
    return min(found, default=None)
