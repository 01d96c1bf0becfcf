"""A slow scheduler's judge: it knows what was submitted and granted, and checks each command and what is left after it.

It decides nothing, so it shares no data structure with the scheduler: every question is answered by looking at everything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from transom_server.run import Waiting
from transom_server.scheduler import Cancel, Commands, Conflict, Drop, DropReason, Job, Need, Offer, Placement, Rate, Scheduler


@dataclass(eq=False)
class Purse:
    """One pool of one session, as far as its credit says."""

    session: str
    pool: str
    offer: Offer
    attempts: int = 0
    granted: int = 0
    used_attempts: int = 0
    used: int = 0
    largest_free: int = 0
    cordoned: bool = False
    draining: bool = False

    @property
    def free(self) -> int:
        return self.granted - self.used

    @property
    def idle(self) -> bool:
        return self.free == self.largest_free

    @property
    def open(self) -> bool:
        return not self.cordoned and not self.draining

    def meets(self, need: Need) -> bool:
        offer = self.offer
        return (
            need.action in offer.actions
            and need.min_containment <= offer.containment
            and need.zone in {"", offer.zone}
            and need.pool in {"", self.pool}
            and all(label in offer.labels for label in need.require)
        )

    def fits(self, job: Job) -> bool:
        return job.size_bytes <= self.free or self.idle

    def takes(self, job: Job) -> bool:
        return self.open and self.meets(job.need) and self.used_attempts < self.attempts and self.fits(job)


@dataclass
class Queued:
    job: Job
    number: int
    since: float


@dataclass
class Judge:
    """The scheduler under test, and everything that is known about it from outside."""

    scheduler: Scheduler
    aging_s: float
    now: float = 0.0
    purses: dict[str, dict[str, Purse]] = field(default_factory=dict)
    queued: dict[str, Queued] = field(default_factory=dict)
    placed: dict[str, Job] = field(default_factory=dict)
    where: dict[str, Purse] = field(default_factory=dict)
    slots: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    cancelled: set[str] = field(default_factory=set)
    starts: dict[tuple[str, Rate], list[float]] = field(default_factory=lambda: defaultdict(list))
    passes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """For each tenant, how often each other had a turn that it wanted, since its own last turn."""
    ends: Counter[str] = field(default_factory=Counter)
    kept: set[tuple[str, str]] = field(default_factory=set)
    """What was kept for an overdue job when the event began: it is let go at the end of the event that makes that needless."""
    submitted: int = 0

    # Events, as the scheduler sees them.

    def connect(self, session: str, offer: Offer) -> None:
        self.purses[session] = {offer.pool: Purse(session, offer.pool, offer)}
        self.obey(self.scheduler.connect(session, offer, self.now))

    def before(self) -> None:
        """Let what was due before an event that makes room come before it, so that it is judged by the room that there was."""
        wake_at = self.scheduler.wake_at()
        if wake_at is not None and wake_at <= self.now:
            self.tick()

    def credit(self, session: str, pool: str, attempts: int, size: int) -> None:
        self.before()
        offer = next(iter(self.purses[session].values())).offer
        name = pool or offer.pool
        first = next(iter(self.purses[session].values()))
        purse = self.purses[session].setdefault(
            name, Purse(session, name, offer, cordoned=first.cordoned, draining=first.draining)
        )  # fmt: skip
        purse.attempts, purse.granted = max(purse.attempts, attempts), max(purse.granted, size)
        purse.largest_free = max(purse.largest_free, purse.free)
        self.obey(self.scheduler.credit(session, pool, attempts, size, self.now))

    def submit(self, job: Job) -> None:
        again = job.run in self.placed
        if again:
            del self.placed[job.run]
        self.submitted += not again
        full = self.full(job)
        must_drop = self.refusal(job) if full else None
        self.queued[job.run] = Queued(job, self.next_number(), self.now)
        said = self.scheduler.submit(job, self.now)
        ends = {one.reason for one in said if isinstance(one, Drop) and one.run == job.run}
        assert ends == ({must_drop} if must_drop else set())
        self.obey(said, new=job.run)
        if full and job.concurrency is not None and job.concurrency.conflict is Conflict.CANCEL_OLDER:
            assert self.waits_for(job) == []
            assert len(self.slots[job.tenant, job.concurrency.key] - self.cancelled - {job.run}) < job.concurrency.limit

    def full(self, job: Job) -> bool:
        """Whether a new job is one too many for its concurrency key."""
        wanted = job.concurrency
        if wanted is None or job.run in self.slots[job.tenant, wanted.key]:
            return False
        return len(self.slots[job.tenant, wanted.key]) + len(self.waits_for(job)) >= wanted.limit

    def refusal(self, job: Job) -> DropReason | None:
        names = {Conflict.SKIP: DropReason.SKIPPED, Conflict.FAIL: DropReason.CONCURRENCY_EXCEEDED}
        return names.get(job.concurrency.conflict) if job.concurrency is not None else None

    def waits_for(self, job: Job) -> list[str]:
        """Which other jobs wait for the job's concurrency key."""
        assert job.concurrency is not None
        name = (job.tenant, job.concurrency.key)
        return [
            run
            for run, one in self.queued.items()
            if one.job.concurrency is not None
            and (one.job.tenant, one.job.concurrency.key) == name
            and run not in self.slots[name]
            and run != job.run
        ]

    def next_number(self) -> int:
        self._number = getattr(self, "_number", 0) + 1
        return self._number

    def withdraw(self, run: str) -> None:
        waited = self.queued.pop(run, None)
        if waited is not None:
            self.gone(run, "withdrawn")
        self.obey(self.scheduler.withdraw(run, self.now))

    def ended(self, run: str) -> None:
        how = "withdrawn" if self.queued.pop(run, None) is not None else "ended"
        self.placed.pop(run, None)
        self.gone(run, how)
        self.obey(self.scheduler.ended(run, self.now))

    def gone(self, run: str, how: str) -> None:
        self.ends[how] += 1
        self.begin_turns_anew()
        self.where.pop(run, None)
        self.cancelled.discard(run)
        for holders in self.slots.values():
            holders.discard(run)

    def cordon(self, session: str) -> None:
        for purse in self.purses[session].values():
            purse.cordoned = True
        self.obey(self.scheduler.cordon(session, self.now))

    def uncordon(self, session: str) -> None:
        self.before()
        for purse in self.purses[session].values():
            purse.cordoned = False
        self.obey(self.scheduler.uncordon(session, self.now))

    def drain(self, session: str) -> None:
        for purse in self.purses[session].values():
            purse.draining = True
        self.obey(self.scheduler.drain(session, self.now))

    def disconnect(self, session: str) -> None:
        del self.purses[session]
        self.obey(self.scheduler.disconnect(session, self.now))

    def tick(self) -> None:
        self.obey(self.scheduler.tick(self.now))

    # What the scheduler said.

    def obey(self, said: Commands, new: str = "") -> None:
        for command in said:
            if isinstance(command, Placement):
                self.place(command, new)
            elif isinstance(command, Drop):
                self.drop(command, new)
            else:
                self.cancel(command, new)
        self.check()

    def drop(self, command: Drop, new: str) -> None:
        dropped = self.queued.pop(command.run).job
        if command.run != new:
            wanted = self.queued[new].job.concurrency
            assert command.reason is DropReason.SUPERSEDED
            assert wanted is not None
            assert dropped.concurrency is not None
            assert (wanted.conflict, wanted.key) == (Conflict.CANCEL_OLDER, dropped.concurrency.key)
        self.gone(command.run, "dropped")

    def cancel(self, command: Cancel, new: str) -> None:
        job = self.queued[new].job
        wanted = job.concurrency
        assert wanted is not None
        assert wanted.conflict is Conflict.CANCEL_OLDER
        assert command.run in self.slots[job.tenant, wanted.key]
        assert command.run not in self.cancelled
        assert len(self.slots[job.tenant, wanted.key] - self.cancelled) >= wanted.limit
        self.cancelled.add(command.run)

    def place(self, command: Placement, new: str) -> None:
        one = self.queued[command.run]
        purse = self.purses[command.session][command.pool]
        assert purse.takes(one.job), "neither open, able nor in credit"
        assert self.admitted(one.job), "its limits say no"
        self.check_turn(one, purse, new)
        self.check_choice(one, purse)
        del self.queued[command.run]
        self.placed[command.run], self.where[command.run] = one.job, purse
        purse.used_attempts += 1
        purse.used += one.job.size_bytes
        if one.job.concurrency is not None:
            holders = self.slots[one.job.tenant, one.job.concurrency.key]
            holders.add(command.run)
        for rate in one.job.rates:
            self.starts[one.job.tenant, rate].append(self.now)
        if command.run != new:
            self.passes[one.job.tenant].clear()
        self.begin_turns_anew(new)

    def begin_turns_anew(self, new: str = "") -> None:
        """Forget who was passed when nobody waits, as the scheduler does."""
        if not self.queued.keys() - {new}:
            self.passes.clear()

    # Questions, each answered from first principles.

    def rank(self, one: Queued) -> int:
        return max(1, one.job.priority - int((self.now - one.since) // self.aging_s))

    def overdue(self, one: Queued) -> bool:
        return self.now - one.since >= one.job.priority * self.aging_s

    def admitted(self, job: Job) -> bool:
        return self.has_slot(job) and self.rates_ready_at(job) <= self.now

    def has_slot(self, job: Job) -> bool:
        if job.concurrency is None:
            return True
        holders = self.slots[job.tenant, job.concurrency.key]
        return job.run in holders or len(holders) < job.concurrency.limit

    def rates_ready_at(self, job: Job) -> float:
        """When one more start keeps every window within its bound, the windows since each earlier start."""
        times = [0.0]
        for rate in job.rates:
            starts = self.starts[job.tenant, rate]
            for index, start in enumerate(starts):
                in_window = len(starts) - index + 1
                times.append(start + (in_window - rate.runs) * rate.per_s / rate.runs)
        return max(times)

    def every_purse(self) -> list[Purse]:
        return [purse for pools in self.purses.values() for purse in pools.values()]

    def reasons_to_keep(self, purse: Purse) -> set[str]:
        """Which overdue jobs would be a reason to give this purse's room to no other."""
        return {
            run
            for run, one in self.queued.items()
            if self.overdue(one) and purse.open and purse.meets(one.job.need) and not purse.fits(one.job) and self.admitted(one.job)
        }

    def check_turn(self, one: Queued, purse: Purse, new: str) -> None:
        """Nobody who could have had this place had a better right to it; a new job comes after what was due before it."""
        rank, passed = self.rank(one), set()
        for other in self.queued.values():
            if other is one or other.job.run == new or not purse.takes(other.job) or not self.admitted(other.job):
                continue
            assert rank <= self.rank(other), "a more urgent job was passed"
            if rank < self.rank(other) or self.overdue(one):
                continue  # the place may have been kept for a job that was overdue
            if other.job.tenant == one.job.tenant:
                assert one.number < other.number, "an older job of the same tenant was passed"
            else:
                passed.add(other.job.tenant)
        for tenant in passed:
            self.passes[tenant][one.job.tenant] += 1
            assert self.passes[tenant][one.job.tenant] <= 1, "a tenant was passed twice by the same one"

    def check_choice(self, one: Queued, purse: Purse) -> None:
        def order(purse: Purse) -> tuple[bool, int, int]:
            matches = len(one.job.prefer & purse.offer.labels)
            return purse.session not in one.job.avoid, matches, purse.attempts - purse.used_attempts

        for other in self.every_purse():
            if other.takes(one.job) and not self.reasons_to_keep(other) and (other.session, other.pool) not in self.kept:
                assert order(purse) >= order(other), "there was a better session"

    def check(self) -> None:
        """What holds whenever an event has been dealt with."""
        assert len(self.scheduler) == len(self.queued)
        assert self.submitted == len(self.queued) + len(self.placed) + sum(self.ends.values())
        for purse in self.every_purse():
            assert purse.used_attempts <= purse.attempts
        self.check_credit()
        self.check_work()
        self.check_wake()
        self.check_answers()
        self.kept = {(account.session, account.pool) for account in self.scheduler._held}

    def check_credit(self) -> None:
        for pools in self.scheduler._fleet.sessions.values():
            for account in pools.accounts.values():
                purse = self.purses[account.session][account.pool]
                assert account.free_attempts == purse.attempts - purse.used_attempts >= 0
                assert account.free_bytes == max(0, purse.free)

    def check_work(self) -> None:
        """No job waits that could be placed, except for what is kept for an overdue one, and each such keeps one at most."""
        kept: list[set[str]] = []
        for purse in self.every_purse():
            if any(purse.takes(one.job) and self.admitted(one.job) for one in self.queued.values()):
                reasons = self.reasons_to_keep(purse)
                assert reasons, "a job waits that could be placed"
                kept.append(reasons)
        assert len(kept) <= len(set[str]().union(*kept)), "more is kept than there are reasons for"

    def check_wake(self) -> None:
        wake_at = self.scheduler.wake_at()
        assert wake_at is None or wake_at > self.now
        for one in self.queued.values():
            room = any(purse.takes(one.job) and not self.reasons_to_keep(purse) for purse in self.every_purse())
            if room and self.has_slot(one.job) and not self.admitted(one.job):
                assert wake_at is not None
                assert wake_at <= self.rates_ready_at(one.job)

    def check_answers(self) -> None:
        depths: Counter[tuple[str, str]] = Counter()
        oldest: dict[tuple[str, str], float] = {}
        for one in self.queued.values():
            name = (one.job.need.action, one.job.tenant)
            depths[name] += 1
            oldest[name] = min(oldest.get(name, self.now), one.since)
            able = any(purse.open and purse.meets(one.job.need) for purse in self.every_purse())
            busy = Waiting.BUSY if self.admitted(one.job) else Waiting.LIMIT
            assert self.scheduler.waiting(one.job, self.now) is (busy if able else Waiting.NO_RUNNER)
        rows = self.scheduler.queue(self.now)
        assert {(row.action, row.tenant): (row.depth, row.oldest_age_s) for row in rows} == {
            name: (depth, self.now - oldest[name]) for name, depth in depths.items()
        }
