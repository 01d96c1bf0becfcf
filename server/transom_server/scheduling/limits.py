"""What keeps a job waiting though a runner is free: concurrency keys and rates, each of one tenant.

A gate is shut or admits. Lanes of jobs that a shut gate keeps back are noted at the gate, and leave their line until it opens.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from transom_server.scheduling.job import Concurrency, Job, Rate

if TYPE_CHECKING:
    from transom_server.scheduling.line import Lane

FEW_BUCKETS = 64


class Slots:
    """One concurrency key: who holds it, and who waits for it, both oldest first."""

    __slots__ = ("blocked", "cancelled", "name", "placed", "waiting")

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name
        self.placed: dict[str, None] = {}
        self.cancelled: set[str] = set()
        """Those placed that were asked to make way."""
        self.waiting: dict[str, None] = {}
        self.blocked: dict[Lane, None] = {}

    def full(self, limit: int) -> bool:
        """Whether a new job must conflict: those that wait will want the free slots."""
        return len(self.placed) + len(self.waiting) >= limit

    def in_the_way(self, limit: int) -> list[str]:
        """Name the oldest placed runs that must end so that one more fits."""
        staying = [run for run in self.placed if run not in self.cancelled]
        return staying[: max(0, len(staying) - limit + 1)]


class Bucket:
    """One rate: a token bucket, kept as the time when it will be full (the generic cell rate algorithm, GCRA)."""

    __slots__ = ("blocked", "full_at_s", "interval_s", "lanes", "rate", "wake")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.interval_s = rate.per_s / max(1, rate.runs)
        self.full_at_s = float("-inf")
        self.lanes = 0
        """How many lanes know it."""
        self.wake: Wake | None = None
        """Set while it blocks any lane."""
        self.blocked: dict[Lane, None] = {}

    def ready_at_s(self) -> float:
        """Tell when the next token is there."""
        return self.full_at_s - (max(1, self.rate.runs) - 1) * self.interval_s

    def take(self, now_s: float) -> None:
        """Take a token."""
        self.full_at_s = max(self.full_at_s, now_s) + self.interval_s

    def retune(self, rate: Rate, now_s: float) -> None:
        """Go on with another rate: as many tokens stay taken."""
        taken = max(0.0, self.full_at_s - now_s) / self.interval_s
        self.rate, self.interval_s = rate, rate.per_s / max(1, rate.runs)
        self.full_at_s = now_s + taken * self.interval_s


Wake = tuple[float, int, Bucket]
"""A bucket and the time at which its next token is expected, with a number that makes it unique."""


class Gates:
    """All that one lane's jobs must pass."""

    __slots__ = ("buckets", "limit", "slots")

    def __init__(self, slots: Slots | None, limit: int, buckets: tuple[Bucket, ...]) -> None:
        self.slots = slots
        self.limit = limit
        self.buckets = buckets

    def shut(self, now_s: float) -> Slots | Bucket | None:
        """Return the first gate that admits nobody now."""
        if self.slots is not None and len(self.slots.placed) >= self.limit:
            return self.slots
        for bucket in self.buckets:
            if now_s < bucket.ready_at_s():
                return bucket
        return None


class Limits:
    """Every gate in use; one that is as good as new is forgotten."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], Slots] = {}
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._holders: dict[str, Slots] = {}
        self._sweep_at = FEW_BUCKETS
        self._numbers = itertools.count()
        self.wakes: list[Wake] = []
        """When gates may open by themselves, soonest first: one for each bucket that blocks."""

    def __len__(self) -> int:
        return len(self._slots) + len(self._buckets)

    def holds(self, run: str) -> bool:
        """Whether a run has a slot from an earlier attempt."""
        return run in self._holders

    def gates(self, job: Job, now_s: float) -> Gates:
        """Find what a job must pass. A run that has its slot already needs no other."""
        if len(self._buckets) >= self._sweep_at:
            self._sweep(now_s)
        buckets = tuple(self._bucket(job.tenant, rate, now_s) for rate in job.rates)
        wanted = job.concurrency
        if wanted is None or job.run in self._holders:
            return Gates(None, 0, buckets)
        return Gates(self.slots(job.tenant, wanted), max(1, wanted.limit), buckets)

    def slots(self, tenant: str, wanted: Concurrency) -> Slots:
        """Return a tenant's slots for a key."""
        name = (tenant, wanted.key)
        return self._slots.get(name) or self._slots.setdefault(name, Slots(name))

    def _bucket(self, tenant: str, rate: Rate, now_s: float) -> Bucket:
        name = (tenant, rate.key)
        bucket = self._buckets.get(name) or self._buckets.setdefault(name, Bucket(rate))
        if bucket.rate != rate:
            bucket.retune(rate, now_s)
            self._set_wake(bucket)
        return bucket

    def _sweep(self, now_s: float) -> None:
        # Done when their number has doubled: each event pays for at most two of them.
        self._buckets = {name: one for name, one in self._buckets.items() if one.lanes or one.full_at_s > now_s}
        self._sweep_at = max(FEW_BUCKETS, 2 * len(self._buckets))

    def placed(self, run: str, gates: Gates, now_s: float) -> None:
        """Take what the gates give."""
        if gates.slots is not None:
            self._slots[gates.slots.name] = gates.slots  # forgotten, if the run was the last that waited for it
            gates.slots.placed[run] = None
            self._holders[run] = gates.slots
        for bucket in gates.buckets:
            bucket.take(now_s)

    def ended(self, run: str) -> Slots | None:
        """Give a run's slot back; none if it had none."""
        slots = self._holders.pop(run, None)
        if slots is not None:
            del slots.placed[run]
            slots.cancelled.discard(run)
            self.forget(slots)
        return slots

    def forget(self, slots: Slots) -> None:
        """Drop a key that nobody holds or waits for."""
        if not slots.placed and not slots.waiting:
            self._slots.pop(slots.name, None)

    def block(self, gate: Slots | Bucket, lane: Lane) -> None:
        """Note that a lane waits for a gate."""
        gate.blocked[lane] = None
        if isinstance(gate, Bucket) and gate.wake is None:
            self._set_wake(gate)

    def unblock(self, gate: Slots | Bucket, lane: Lane) -> None:
        """Note that a lane waits for a gate no more."""
        del gate.blocked[lane]
        if isinstance(gate, Bucket) and not gate.blocked:
            self._set_wake(gate)

    def _set_wake(self, bucket: Bucket) -> None:
        if bucket.wake is not None:
            del self.wakes[bisect_left(self.wakes, bucket.wake)]
        bucket.wake = (bucket.ready_at_s(), next(self._numbers), bucket) if bucket.blocked else None
        if bucket.wake is not None:
            insort(self.wakes, bucket.wake)

    def wake_at_s(self) -> float | None:
        """Tell when the next gate opens by itself."""
        while self.wakes:
            at_s, _, bucket = self.wakes[0]
            if bucket.ready_at_s() <= at_s:
                return at_s
            self._set_wake(bucket)  # somebody took the token that was expected
        return None

    def ready(self, now_s: float) -> list[Bucket]:
        """List the rates that keep lanes back and have a token again."""
        due = itertools.takewhile(lambda wake: wake[0] <= now_s, self.wakes)
        return [bucket for _, _, bucket in due if bucket.ready_at_s() <= now_s]

    def opened(self, now_s: float) -> Bucket | None:
        """Return one of those that are ready."""
        at_s = self.wake_at_s()
        return self.wakes[0][2] if at_s is not None and at_s <= now_s else None
