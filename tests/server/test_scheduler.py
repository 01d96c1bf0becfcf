"""The scheduler alone: who gets a run, in which order, and what never happens whatever comes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from transom_server.run import Waiting
from transom_server.scheduler import Job, Need, Offer, Placement, Scheduler

READ = Need("test.read", 2, "")
OFFER = Offer(actions=frozenset({"test.read"}), containment=2, zone="eu")


def job(run: str, size_bytes: int = 10, need: Need = READ, avoid: frozenset[str] = frozenset()) -> Job:
    return Job(run=run, need=need, size_bytes=size_bytes, avoid=avoid)


def scheduler(**attempts: int) -> Scheduler:
    """Make a scheduler with sessions of so many attempts and 100 bytes each."""
    made = Scheduler()
    for name, count in attempts.items():
        made.connect(name, OFFER)
        made.credit(name, count, 100)
    return made


def test_a_job_goes_to_the_session_with_the_most_free_attempts() -> None:
    assert scheduler(a=1, b=3, c=2).submit(job("1")) == Placement(run="1", session="b")


def test_a_job_that_nobody_can_take_waits_for_credit() -> None:
    made = scheduler(a=0)
    assert made.submit(job("1")) is None
    assert made.waiting(READ) is Waiting.BUSY
    assert made.credit("a", 1, 100) == [Placement(run="1", session="a")]
    assert len(made) == 0


@pytest.mark.parametrize("need", [Need("test.write", 2, ""), Need("test.read", 3, ""), Need("test.read", 2, "us")])
def test_a_job_that_no_runner_offers_waits_for_one(need: Need) -> None:
    made = scheduler(a=5)
    assert made.submit(job("1", need=need)) is None
    assert made.waiting(need) is Waiting.NO_RUNNER
    assert not made.offers(need)


def test_a_job_for_a_zone_goes_to_that_zone() -> None:
    assert scheduler(a=1).submit(job("1", need=Need("test.read", 1, "eu"))) == Placement(run="1", session="a")


def test_jobs_wait_in_order_and_none_overtakes_within_a_need() -> None:
    made = scheduler(a=0)
    for number in range(4):
        made.submit(job(str(number)))
    assert [one.run for one in made.credit("a", 3, 100)] == ["0", "1", "2"]
    assert made.submit(job("4")) is None
    assert [one.run for one in made.credit("a", 5, 100)] == ["3", "4"]


def test_credit_is_a_total_and_repeating_it_gives_nothing() -> None:
    made = scheduler(a=1)
    made.submit(job("1"))
    assert made.submit(job("2")) is None
    assert made.credit("a", 1, 100) == []
    assert made.credit("a", 0, 0) == []


def test_a_job_that_does_not_fit_waits_until_bytes_are_free() -> None:
    made = scheduler(a=9)
    made.submit(job("1", 60))
    assert made.submit(job("2", 60)) is None
    assert made.credit("a", 9, 160) == [Placement(run="2", session="a")]


def test_a_job_larger_than_a_runner_gets_an_idle_one_to_itself() -> None:
    made = scheduler(a=9)
    assert made.submit(job("1", 1000)) == Placement(run="1", session="a")
    assert made.submit(job("2", 1)) is None
    assert made.credit("a", 10, 1100) == [Placement(run="2", session="a")]


def test_a_runner_that_grows_is_idle_at_its_new_size() -> None:
    made = scheduler(a=9)
    made.credit("a", 9, 200)
    assert made.submit(job("1", 1000)) == Placement(run="1", session="a")


def test_a_session_that_did_not_take_a_job_comes_last_for_it() -> None:
    made = scheduler(a=9, b=1)
    assert made.submit(job("1", avoid=frozenset({"a"}))) == Placement(run="1", session="b")
    assert made.submit(job("2", avoid=frozenset({"a"}))) == Placement(run="2", session="a")


def test_a_draining_or_gone_session_gets_nothing() -> None:
    made = scheduler(a=9, b=9)
    made.drain("a")
    made.disconnect("b")
    assert made.submit(job("1")) is None
    assert made.credit("a", 99, 999) == []
    assert made.credit("b", 99, 999) == []
    assert made.waiting(READ) is Waiting.NO_RUNNER


def test_a_job_that_was_withdrawn_is_never_placed() -> None:
    made = scheduler(a=0)
    made.submit(job("1"))
    assert made.withdraw("1")
    assert not made.withdraw("1")
    assert made.credit("a", 5, 100) == []


NEEDS = [Need(action, level, zone) for action in ("a.x", "a.y") for level in (1, 2) for zone in ("", "eu")]


@dataclass
class Seen:
    """What the model knows of one session."""

    offer: Offer
    attempts: int = 0
    granted: int = 0
    used_attempts: int = 0
    used: int = 0
    largest_free: int = 0
    draining: bool = False
    jobs: list[Job] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        return self.granted - self.used == self.largest_free


class SchedulerMachine(RuleBasedStateMachine):
    """Any order of events, against what must hold after each."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.seen: dict[str, Seen] = {}
        self.waiting: dict[str, Job] = {}
        self.gone: set[str] = set()
        self.submitted = 0
        self.numbers = iter(range(10**9))

    @rule(target=sessions, actions=st.sets(st.sampled_from(["a.x", "a.y"])), level=st.integers(1, 2), zone=st.sampled_from(["", "eu"]))
    def connect(self, actions: set[str], level: int, zone: str) -> str:
        name = f"s{next(self.numbers)}"
        offer = Offer(actions=frozenset(actions), containment=level, zone=zone)
        self.seen[name] = Seen(offer)
        self.scheduler.connect(name, offer)
        return name

    @rule(session=sessions, attempts=st.integers(0, 4), size=st.integers(0, 100))
    def grant(self, session: str, attempts: int, size: int) -> None:
        known = self.seen[session]
        self._credit(session, known.attempts + attempts, known.granted + size)

    @rule(session=sessions, attempts=st.integers(0, 10), size=st.integers(0, 200))
    def repeat_an_old_total(self, session: str, attempts: int, size: int) -> None:
        known = self.seen[session]
        self._credit(session, min(attempts, known.attempts), min(size, known.granted))

    @rule(session=sessions)
    def finish_a_job(self, session: str) -> None:
        known = self.seen[session]
        if known.jobs:
            done = known.jobs.pop(0)
            self.gone.add(done.run)
            self._credit(session, known.attempts + 1, known.granted + done.size_bytes)

    def _credit(self, session: str, attempts: int, size: int) -> None:
        known = self.seen[session]
        known.attempts, known.granted = max(known.attempts, attempts), max(known.granted, size)
        known.largest_free = max(known.largest_free, known.granted - known.used)
        for placement in self.scheduler.credit(session, attempts, size):
            assert placement.session == session
            self._placed(placement)

    @rule(need=st.sampled_from(NEEDS), size=st.integers(1, 120))
    def submit(self, need: Need, size: int) -> None:
        self.submitted += 1
        new = Job(run=f"r{next(self.numbers)}", need=need, size_bytes=size)
        self.waiting[new.run] = new
        placement = self.scheduler.submit(new)
        if placement is not None:
            assert placement.run == new.run
            self._placed(placement)

    def _placed(self, placement: Placement) -> None:
        placed = self.waiting.pop(placement.run)
        known = self.seen[placement.session]
        assert known.offer.meets(placed.need)
        assert not known.draining
        assert known.granted - known.used >= placed.size_bytes or known.idle
        older = list(self.waiting.values())
        assert not [one for one in older if one.need == placed.need and int(one.run[1:]) < int(placed.run[1:])]
        known.used_attempts += 1
        known.used += placed.size_bytes
        known.jobs.append(placed)
        assert known.used_attempts <= known.attempts

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.waiting:
            run = data.draw(st.sampled_from(sorted(self.waiting)))
            assert self.scheduler.withdraw(run)
            assert not self.scheduler.withdraw(run)
            del self.waiting[run]
            self.gone.add(run)

    @rule(session=sessions)
    def drain(self, session: str) -> None:
        self.seen[session].draining = True
        self.scheduler.drain(session)

    @rule(session=consumes(sessions))
    def disconnect(self, session: str) -> None:
        self.gone |= {one.run for one in self.seen.pop(session).jobs}
        self.scheduler.disconnect(session)

    @invariant()
    def nothing_is_lost_and_nothing_is_placed_twice(self) -> None:
        assert len(self.scheduler) == len(self.waiting)
        placed = [one.run for known in self.seen.values() for one in known.jobs]
        assert len(placed) == len(set(placed))
        assert len(placed) + len(self.waiting) + len(self.gone) == self.submitted

    @invariant()
    def an_idle_runner_leaves_nothing_waiting_that_it_can_do(self) -> None:
        for known in self.seen.values():
            if known.idle and not known.draining and known.attempts > known.used_attempts:
                assert not [one for one in self.waiting.values() if known.offer.meets(one.need)]

    @invariant()
    def what_waits_is_said_to_wait_for_the_right_thing(self) -> None:
        for one in self.waiting.values():
            able = any(known.offer.meets(one.need) and not known.draining for known in self.seen.values())
            assert self.scheduler.waiting(one.need) is (Waiting.BUSY if able else Waiting.NO_RUNNER)


SchedulerMachine.TestCase.settings = settings(
    max_examples=3000 if os.environ.get("TRANSOM_PROVE") else 150, stateful_step_count=40, deadline=None
)
TestScheduler = SchedulerMachine.TestCase
