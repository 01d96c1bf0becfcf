"""Concurrency keys and rates: what keeps a job waiting though a runner is free."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from transom_server.run import Waiting
from transom_server.scheduler import (
    Cancel,
    Commands,
    Concurrency,
    Conflict,
    Drop,
    DropReason,
    Job,
    Need,
    Offer,
    Placement,
    Rate,
    Scheduler,
)

READ = Need("test.read", 2, "")
OFFER = Offer(actions=frozenset({"test.read"}), containment=2, zone="eu")


def scheduler(attempts: int = 99) -> Scheduler:
    made = Scheduler()
    made.connect("a", OFFER, 0)
    made.credit("a", "", attempts, 10_000, 0)
    return made


def keyed(run: str, conflict: Conflict = Conflict.QUEUE, limit: int = 1, *, tenant: str = "t", priority: int = 3) -> Job:
    limited = Concurrency("key", limit, conflict)
    return Job(run=run, tenant=tenant, need=READ, size_bytes=1, priority=priority, concurrency=limited)


def rated(run: str, *rates: Rate, tenant: str = "t") -> Job:
    return Job(run=run, tenant=tenant, need=READ, size_bytes=1, rates=rates)


def placed(*runs: str) -> list[Placement]:
    return [Placement(run=run, session="a") for run in runs]


def test_a_key_lets_so_many_run_and_the_others_wait_their_turn() -> None:
    made = scheduler()
    assert [list(made.submit(keyed(run, limit=2), 0)) for run in "123"] == [placed("1"), placed("2"), []]
    assert made.submit(keyed("4", limit=2, priority=1), 0) == []
    assert made.waiting(keyed("3"), 0) is Waiting.LIMIT
    assert made.ended("1", 0) == placed("4")
    assert made.ended("4", 0) == placed("3")


def test_a_key_is_one_tenants_own() -> None:
    made = scheduler()
    made.submit(keyed("1"), 0)
    assert made.submit(keyed("2", tenant="u"), 0) == placed("2")


def test_a_run_that_is_tried_again_keeps_its_slot() -> None:
    made = scheduler(2)
    made.submit(keyed("1"), 0)
    assert made.submit(keyed("2"), 0) == []
    assert made.submit(keyed("1", Conflict.FAIL), 0) == placed("1")
    assert made.submit(keyed("1"), 0) == []
    assert made.waiting(keyed("1"), 0) is Waiting.BUSY
    assert made.credit("a", "", 4, 10_000, 0) == placed("1")
    assert made.ended("1", 0) == placed("2")


def test_withdrawing_a_run_that_is_tried_again_frees_its_slot() -> None:
    made = scheduler(1)
    made.submit(keyed("1"), 0)
    made.submit(keyed("2"), 0)
    made.submit(keyed("1"), 0)
    assert made.withdraw("1", 0) == []
    assert made.credit("a", "", 2, 10_000, 0) == placed("2")


@pytest.mark.parametrize(
    ("conflict", "reason"), [(Conflict.SKIP, DropReason.SKIPPED), (Conflict.FAIL, DropReason.CONCURRENCY_EXCEEDED)]
)  # fmt: skip
def test_a_new_run_yields_when_the_key_is_full(conflict: Conflict, reason: DropReason) -> None:
    made = scheduler()
    assert made.submit(keyed("1", conflict), 0) == placed("1")
    assert made.submit(keyed("2", conflict), 0) == [Drop(run="2", reason=reason)]
    made.ended("1", 0)
    assert made.submit(keyed("3", conflict), 0) == placed("3")


def test_a_new_run_yields_to_those_that_wait() -> None:
    made = scheduler(0)
    assert made.submit(keyed("1", Conflict.SKIP), 0) == []
    assert made.submit(keyed("2", Conflict.SKIP), 0) == [Drop(run="2", reason=DropReason.SKIPPED)]
    assert made.credit("a", "", 9, 10_000, 0) == placed("1")


def test_older_runs_make_way_for_a_newer_one() -> None:
    made = scheduler()
    newest = Conflict.CANCEL_OLDER
    assert made.submit(keyed("1", newest), 0) == placed("1")
    assert made.submit(keyed("2", newest), 0) == [Cancel(run="1")]
    assert made.submit(keyed("3", newest), 0) == [Drop(run="2", reason=DropReason.SUPERSEDED)]
    assert made.ended("1", 0) == placed("3")


def test_only_as_many_are_cancelled_as_must_make_way() -> None:
    made = scheduler()
    for run in "123":
        made.submit(keyed(run, Conflict.CANCEL_OLDER, 3), 0)
    assert made.submit(keyed("4", Conflict.CANCEL_OLDER, 3), 0) == [Cancel(run="1")]


def test_a_rate_lets_jobs_start_as_tokens_come() -> None:
    made, rate = scheduler(), Rate("r", 2, 10)
    assert [len(made.submit(rated(run, rate), 0)) for run in "1234"] == [1, 1, 0, 0]
    assert made.waiting(rated("3", rate), 0) is Waiting.LIMIT
    assert made.wake_at() == 5
    assert made.tick(4.9) == []
    assert made.tick(5) == placed("3")
    assert made.wake_at() == 10
    assert made.tick(60) == placed("4")
    assert made.wake_at() is None


EVENTS: dict[str, Callable[[Scheduler], Commands]] = {
    "a token has come": lambda made: made.tick(10),
    "a run was withdrawn": lambda made: made.withdraw("3", 10),
    "a run that is unknown was withdrawn": lambda made: made.withdraw("4", 10),
    "a run has ended": lambda made: made.ended("1", 10),
    "a session has connected": lambda made: made.connect("b", OFFER, 10),
    "credit has come": lambda made: made.credit("a", "", 1, 1, 10),
    "credit has come for an unknown session": lambda made: made.credit("b", "", 1, 1, 10),
    "a session was cordoned": lambda made: made.cordon("b", 10),
    "a cordon was lifted": lambda made: made.uncordon("b", 10),
    "a session drains": lambda made: made.drain("b", 10),
    "a session is gone": lambda made: made.disconnect("b", 10),
}


@pytest.mark.parametrize("event", EVENTS)
def test_whatever_happens_first_after_a_token_has_come_places_the_job(event: str) -> None:
    made, rate = scheduler(), Rate("r", 1, 10)
    for run in "123":
        made.submit(rated(run, rate), 0)
    assert EVENTS[event](made) == placed("2")


def test_what_was_due_comes_before_a_new_job() -> None:
    made, rate = scheduler(), Rate("r", 1, 10)
    made.submit(rated("1", rate), 0)
    made.submit(rated("2", rate), 0)
    assert made.submit(Job(run="3", need=READ, size_bytes=1, priority=1), 10) == placed("2", "3")


def test_a_job_waits_for_all_its_rates() -> None:
    made = scheduler()
    rates = (Rate("fast", 1, 1), Rate("slow", 1, 10))
    made.submit(rated("1", *rates), 0)
    made.submit(rated("2", *rates), 0)
    assert made.tick(9) == []
    assert made.submit(rated("3", rates[0]), 9) == placed("3")
    assert made.tick(10) == placed("2")


def test_the_newest_rate_of_a_key_counts_also_for_those_that_wait() -> None:
    made = scheduler()
    made.submit(rated("1", Rate("r", 1, 100)), 0)
    made.submit(rated("2", Rate("r", 1, 100)), 0)
    assert made.submit(rated("3", Rate("r", 1, 10)), 20) == []
    assert made.wake_at() == 28  # four fifths of a token were wanting
    assert made.tick(28) == placed("2")


def test_a_job_that_waits_for_a_runner_takes_no_token() -> None:
    made, rate = scheduler(0), Rate("r", 1, 10)
    made.submit(rated("1", rate), 0)
    made.submit(rated("2", rate), 0)
    assert made.wake_at() is None
    assert made.credit("a", "", 9, 10_000, 50) == placed("1")
    assert made.wake_at() == 60


def test_keys_that_nobody_uses_are_forgotten() -> None:
    made = scheduler(100_000)
    for number in range(10_000):
        run = str(number)
        made.submit(Job(run=run, need=READ, size_bytes=0, concurrency=Concurrency(run), rates=(Rate(run, 1, 1),)), number)
        made.ended(run, number)
    assert len(made._limits) < 200
    assert len(made) == 0


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    runs=st.integers(1, 7),
    per_s=st.floats(0.01, 1000),
    steps=st.lists(st.one_of(st.just(0.0), st.floats(0, 100), st.none()), min_size=1, max_size=60),
)
def test_no_window_holds_more_starts_than_the_bound(runs: int, per_s: float, steps: list[float | None]) -> None:
    """At most `runs * (1 + w / per_s)` in any `w` seconds, with the times of a real clock; and the timer never spins."""
    made, rate, now, starts = scheduler(), Rate("r", runs, per_s), 1000.0, []
    for number, step in enumerate(steps):
        wake_at = made.wake_at()
        said: Commands
        if step is None and wake_at is not None:
            now, said = wake_at, made.tick(wake_at)
            assert said, "the timer fired for nothing"
        else:
            now += step or 0.0
            said = made.submit(rated(str(number), rate), now)
        starts += [now] * len(said)
    for (first, start), (last, end) in itertools.combinations(enumerate(starts), 2):
        assert last - first + 1 <= runs * (1 + (end - start) / per_s) + 1e-6
