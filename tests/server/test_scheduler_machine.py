"""Whatever comes in whatever order: what the judge says of the scheduler holds after every event."""

from __future__ import annotations

import os
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from transom_server.scheduler import Concurrency, Conflict, Job, Need, Offer, Rate, Scheduler

from server.scheduler_model import Judge

AGING_S = 2.0
FAST, EU = ("disk", "fast"), ("zone", "eu")
NEEDS = [
    Need("a.x", 1, ""),
    Need("a.x", 1, ""),
    Need("a.y", 1, ""),
    Need("a.x", 2, ""),
    Need("a.x", 1, "eu"),
    Need("a.x", 1, "", "big"),
    Need("a.y", 1, "", "", frozenset({FAST})),
]
SIZES = [0, 1, 10, 60, 100, 70_000, 100_000, 140_000, 300_000]
TOTALS = [0, 10, 60, 100, 70_000, 140_000, 200_000]
# Only rates with exact tokens, so that the judge may count without rounding.
RATES = [(), (), (), (Rate("r", 1, 2.0),), (Rate("r", 1, 2.0), Rate("q", 2, 4.0)), (Rate("q", 2, 4.0),)]
LIMITS = [None, None, None] + [Concurrency(key, limit, conflict) for conflict in Conflict for key, limit in (("k", 1), ("m", 2))]
MOST_QUEUED = 10
"""More takes the judge long, and shows nothing that fewer do not."""
STEPS_S = [0.25, 0.5, 1.0, 2.0, 4.0, 10.0]


class SchedulerMachine(RuleBasedStateMachine):
    """Any order of events, before the judge."""

    needs, sizes, limits, rates = NEEDS, SIZES, LIMITS, RATES
    calm = False
    """Whether there is one session, which stays, and whose credit comes back with what it has done."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = Judge(Scheduler(aging_s=AGING_S), AGING_S)
        self.count = 0

    @initialize(data=st.data())
    def choose_a_world(self, data: st.DataObject) -> None:
        """Few kinds of jobs at a time: what many kinds do to each other is rarer than what few do."""
        needs, sizes, limits, rates = (
            data.draw(st.lists(st.sampled_from(some), min_size=1, max_size=2)) for some in (self.needs, self.sizes, self.limits, self.rates)
        )
        self.kinds = [(need, size, limit, rate) for need in needs for size in sizes for limit in limits for rate in rates]
        if self.calm:
            self.judge.connect("s", Offer(actions=frozenset({"a.x"}), containment=2, zone="eu"))
            self.judge.credit("s", "", 2, 100)

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    @precondition(lambda self: len(self.judge.purses) < 4 and not self.calm)
    @rule(
        actions=st.sampled_from([{"a.x"}, {"a.y"}, {"a.x", "a.y"}]),
        level=st.integers(1, 2),
        zone=st.sampled_from(["", "eu"]),
        pool=st.sampled_from(["", "big"]),
        labels=st.sampled_from([(), (FAST,), (FAST, EU)]),
        attempts=st.integers(0, 4),
        size=st.sampled_from(TOTALS),
    )
    def connect(
        self, actions: set[str], level: int, zone: str, pool: str, labels: tuple[tuple[str, str], ...], attempts: int, size: int
    ) -> None:
        name = self.name("s")
        self.judge.connect(name, Offer(actions=frozenset(actions), containment=level, zone=zone, pool=pool, labels=frozenset(labels)))
        self.judge.credit(name, "", attempts, size)

    @precondition(lambda self: self.judge.purses and not self.calm)
    @rule(data=st.data(), attempts=st.integers(0, 3), size=st.sampled_from(TOTALS), pool=st.sampled_from(["", "", "big"]))
    def grant(self, data: st.DataObject, attempts: int, size: int, pool: str) -> None:
        session = data.draw(st.sampled_from(list(self.judge.purses)))
        pools = self.judge.purses[session]
        purse = pools.get(pool or next(iter(pools)))
        known = (purse.attempts, purse.granted) if purse is not None else (0, 0)
        self.judge.credit(session, pool, known[0] + attempts, known[1] + size)

    @precondition(lambda self: self.judge.purses and not self.calm)
    @rule(data=st.data(), attempts=st.integers(0, 10), size=st.integers(0, 200))
    def repeat_an_old_total(self, data: st.DataObject, attempts: int, size: int) -> None:
        purse = data.draw(st.sampled_from(self.judge.every_purse()))
        self.judge.credit(purse.session, purse.pool, min(attempts, purse.attempts), min(size, purse.granted))

    @precondition(lambda self: len(self.judge.queued) < MOST_QUEUED)
    @rule(
        kind=st.integers(0, 15),
        tenant=st.sampled_from("tuv"),
        priority=st.sampled_from([1, 3, 5]),
        prefer=st.sampled_from([frozenset(), frozenset({FAST}), frozenset({FAST, EU})]),
        times=st.integers(1, 3),
    )
    def submit(self, kind: int, tenant: str, priority: int, prefer: frozenset[tuple[str, str]], times: int) -> None:
        need, size, limit, rates = self.kinds[kind % len(self.kinds)]
        for _ in range(times):
            run = self.name("r")
            self.judge.submit(
                Job(
                    run=run, tenant=tenant, need=need, size_bytes=size, priority=priority, prefer=prefer, concurrency=limit, rates=rates
                )
            )  # fmt: skip

    def give_back(self, run: str) -> None:
        """Let the runner return what a run took."""
        purse = self.judge.where[run]
        if purse.session in self.judge.purses:
            self.judge.credit(purse.session, purse.pool, purse.attempts + 1, purse.granted + self.judge.placed[run].size_bytes)

    @precondition(lambda self: self.judge.placed)
    @rule(data=st.data(), credit_first=st.booleans(), times=st.integers(1, 3))
    def finish(self, data: st.DataObject, credit_first: bool, times: int) -> None:
        """End runs; the runner gives their credit back before that, or not at all."""
        for run in data.draw(st.permutations(list(self.judge.placed)))[:times]:
            if credit_first or self.calm:
                self.give_back(run)
            self.judge.ended(run)

    @precondition(lambda self: self.judge.placed)
    @rule(data=st.data())
    def try_again(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(list(self.judge.placed)))
        if self.calm:
            self.give_back(run)
        job = self.judge.placed[run]
        self.judge.submit(replace(job, avoid=job.avoid | {self.judge.where[run].session}))

    @precondition(lambda self: self.judge.queued)
    @rule(data=st.data(), for_good=st.booleans())
    def withdraw(self, data: st.DataObject, for_good: bool) -> None:
        run = data.draw(st.sampled_from(list(self.judge.queued)))
        (self.judge.ended if for_good else self.judge.withdraw)(run)
        self.judge.withdraw(run)

    @rule(step_s=st.sampled_from(STEPS_S), tick=st.booleans())
    def time_passes(self, step_s: float, tick: bool) -> None:
        self.judge.now += step_s
        if tick:
            self.judge.tick()

    @rule()
    def the_timer_fires(self) -> None:
        wake_at = self.judge.scheduler.wake_at()
        if wake_at is not None:
            self.judge.now = max(self.judge.now, wake_at)
            self.judge.tick()

    @precondition(lambda self: self.judge.purses and not self.calm)
    @rule(data=st.data(), what=st.sampled_from(["cordon", "uncordon", "uncordon", "drain", "disconnect"]))
    def tell_a_session(self, data: st.DataObject, what: str) -> None:
        session = data.draw(st.sampled_from(list(self.judge.purses)))
        getattr(self.judge, what)(session)


class TurnsMachine(SchedulerMachine):
    """Jobs that are all alike: everything is about whose turn it is."""

    needs, sizes, limits, rates = [NEEDS[0]], [10], [None], [()]
    calm = True


class SizesMachine(TurnsMachine):
    """Jobs that differ in size: everything is about room."""

    needs, sizes = [NEEDS[0]], [10, 60, 100]


class LimitsMachine(TurnsMachine):
    """Jobs with limits: everything is about their keys."""

    limits, rates = LIMITS[3:], RATES[2:]


class DemandsMachine(SchedulerMachine):
    """Jobs that demand a zone, a pool or labels: everything is about who meets that."""

    needs, sizes, limits, rates = NEEDS[3:], [10], [None], [()]


SchedulerMachine.TestCase.settings = settings(
    max_examples=2000 if os.environ.get("TRANSOM_PROVE") else 80, stateful_step_count=50, deadline=None, print_blob=True
)
for narrow in (TurnsMachine, SizesMachine, LimitsMachine, DemandsMachine):
    narrow.TestCase.settings = SchedulerMachine.TestCase.settings
TestSchedulerMachine = pytest.mark.timeout(900)(SchedulerMachine.TestCase)
TestTurns = pytest.mark.timeout(900)(TurnsMachine.TestCase)
TestSizes = pytest.mark.timeout(900)(SizesMachine.TestCase)
TestLimits = pytest.mark.timeout(900)(LimitsMachine.TestCase)
TestDemands = pytest.mark.timeout(900)(DemandsMachine.TestCase)
