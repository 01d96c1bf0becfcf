"""The scheduler alone: who gets a run, in which order, for which reasons. What holds always is in `test_scheduler_machine`."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from transom_server.run import Waiting
from transom_server.scheduler import Commands, Job, Need, Offer, Placement, Row, Scheduler

READ = Need("test.read", 2, "")
OFFER = Offer(actions=frozenset({"test.read"}), containment=2, zone="eu")
FAST, ARM = ("disk", "fast"), ("cpu", "arm")


def job(
    run: str, size_bytes: int = 10, need: Need = READ, avoid: frozenset[str] = frozenset(), *, tenant: str = "", priority: int = 3,
    prefer: frozenset[tuple[str, str]] = frozenset(),
) -> Job:  # fmt: skip
    return Job(run=run, need=need, size_bytes=size_bytes, avoid=avoid, tenant=tenant, priority=priority, prefer=prefer)


def scheduler(**attempts: int) -> Scheduler:
    """Make a scheduler with sessions of so many attempts and 100 bytes each."""
    made = Scheduler()
    for name, count in attempts.items():
        made.connect(name, OFFER, 0)
        made.credit(name, "", count, 100, 0)
    return made


def runs(said: Commands) -> list[str]:
    assert all(isinstance(one, Placement) for one in said)
    return [one.run for one in said]


def test_a_job_goes_to_the_session_with_the_most_free_attempts() -> None:
    assert scheduler(a=1, b=3, c=2).submit(job("1"), 0) == (Placement(run="1", session="b"),)


def test_a_job_that_nobody_can_take_waits_for_credit() -> None:
    made = scheduler(a=0)
    assert made.submit(job("1"), 0) == ()
    assert made.waiting(job("1"), 0) is Waiting.BUSY
    assert made.credit("a", "", 1, 100, 0) == [Placement(run="1", session="a")]
    assert len(made) == 0


@pytest.mark.parametrize(
    "need",
    [
        Need("test.write", 2, ""),
        Need("test.read", 3, ""),
        Need("test.read", 2, "us"),
        Need("test.read", 2, "", "gpu"),
        Need("test.read", 2, "", "", frozenset({FAST})),
    ],
)
def test_a_job_that_no_runner_can_take_waits_for_one(need: Need) -> None:
    made = scheduler(a=5)
    assert made.submit(job("1", need=need), 0) == ()
    assert made.waiting(job("1", need=need), 0) is Waiting.NO_RUNNER


def test_a_runner_that_comes_later_gets_what_waits_for_it() -> None:
    made = scheduler(a=5)
    need = Need("test.read", 2, "us", "gpu", frozenset({FAST}))
    made.submit(job("1", need=need), 0)
    made.connect("b", Offer(actions=OFFER.actions, containment=2, zone="us", pool="gpu", labels=frozenset({FAST, ARM})), 0)
    assert made.credit("b", "", 1, 100, 0) == [Placement(run="1", session="b", pool="gpu")]


def test_each_pool_of_a_session_has_credit_of_its_own() -> None:
    made = scheduler(a=1)
    need = Need("test.read", 2, "", "gpu")
    assert made.credit("a", "gpu", 1, 100, 0) == []
    assert made.submit(job("1", need=need), 0) == (Placement(run="1", session="a", pool="gpu"),)
    assert made.submit(job("2", need=need), 0) == ()
    assert made.submit(job("3"), 0) == (Placement(run="3", session="a", pool=""),)
    assert made.credit("a", "gpu", 2, 110, 0) == [Placement(run="2", session="a", pool="gpu")]


def test_preferred_labels_come_before_free_attempts_and_sessions_that_refused_come_last() -> None:
    made = scheduler(plain=9)
    for name, labels in (("fast", {FAST}), ("both", {FAST, ARM})):
        made.connect(name, Offer(actions=OFFER.actions, containment=2, zone="eu", labels=frozenset(labels)), 0)
        made.credit(name, "", 1, 100, 0)
    asked = [job(str(number), prefer=frozenset({FAST, ARM}), avoid=frozenset({"both"})) for number in range(3)]
    assert [one.session for one_job in asked for one in made.submit(one_job, 0) if isinstance(one, Placement)] == ["fast", "plain", "plain"]
    assert made.submit(job("4", prefer=frozenset({ARM})), 0) == (Placement(run="4", session="both"),)


def test_jobs_wait_in_order() -> None:
    made = scheduler(a=0)
    for number in range(4):
        made.submit(job(str(number)), 0)
    assert runs(made.credit("a", "", 3, 100, 0)) == ["0", "1", "2"]
    assert runs(made.submit(job("4"), 0)) == []
    assert runs(made.credit("a", "", 5, 100, 0)) == ["3", "4"]


def test_credit_is_a_total_and_repeating_it_gives_nothing() -> None:
    made = scheduler(a=1)
    made.submit(job("1"), 0)
    assert made.submit(job("2"), 0) == ()
    assert made.credit("a", "", 1, 100, 0) == []
    assert made.credit("a", "", 0, 0, 0) == []


def test_a_job_that_does_not_fit_waits_until_bytes_are_free_and_smaller_ones_pass() -> None:
    made = scheduler(a=9)
    made.submit(job("1", 60), 0)
    assert made.submit(job("2", 60), 0) == ()
    assert runs(made.submit(job("3", 40), 0)) == ["3"]
    assert made.credit("a", "", 9, 140, 0) == []
    assert runs(made.credit("a", "", 9, 160, 0)) == ["2"]


def test_a_job_larger_than_a_runner_gets_an_idle_one_to_itself() -> None:
    made = scheduler(a=9)
    assert runs(made.submit(job("1", 1000), 0)) == ["1"]
    assert made.submit(job("2", 1), 0) == ()
    assert runs(made.credit("a", "", 10, 1100, 0)) == ["2"]


def test_a_runner_that_grows_is_idle_at_its_new_size() -> None:
    made = scheduler(a=9)
    made.credit("a", "", 9, 200, 0)
    assert runs(made.submit(job("1", 1000), 0)) == ["1"]


def test_a_draining_or_gone_session_gets_nothing() -> None:
    made = scheduler(a=9, b=9)
    made.drain("a", 0)
    made.disconnect("b", 0)
    assert made.submit(job("1"), 0) == ()
    assert made.credit("a", "", 99, 999, 0) == []
    assert made.credit("b", "", 99, 999, 0) == []
    assert made.uncordon("a", 0) == []
    assert made.waiting(job("1"), 0) is Waiting.NO_RUNNER


def test_a_cordon_can_be_lifted() -> None:
    made = scheduler(a=2)
    made.cordon("a", 0)
    made.submit(job("1"), 0)
    assert made.waiting(job("1"), 0) is Waiting.NO_RUNNER
    assert made.credit("a", "", 3, 100, 0) == []
    assert runs(made.uncordon("a", 0)) == ["1"]


def test_a_job_that_was_withdrawn_is_never_placed() -> None:
    made = scheduler(a=0)
    made.submit(job("1"), 0)
    made.withdraw("1", 0)
    made.withdraw("1", 0)
    assert len(made) == 0
    assert made.credit("a", "", 5, 100, 0) == []


def test_urgent_jobs_come_first_until_others_have_waited_long_enough() -> None:
    made = scheduler(a=0)
    made.submit(job("patient", priority=5), 0)
    made.submit(job("usual", priority=3), 30)
    made.submit(job("urgent", priority=1), 119)
    assert runs(made.credit("a", "", 1, 100, 119)) == ["usual"]  # 90 s make it urgent, and it is the older
    made.submit(job("urgent too", priority=1), 120)
    assert runs(made.credit("a", "", 4, 100, 120)) == ["patient", "urgent", "urgent too"]


def test_a_job_is_passed_by_more_urgent_ones_for_no_longer_than_its_ageing() -> None:
    made = scheduler(a=0)
    made.submit(job("patient", priority=5), 0)
    placed = []
    for second in range(1, 200):
        made.submit(job(str(second), priority=1), second)
        placed += [(second, run) for run in runs(made.credit("a", "", second, 100_000, second))]
    assert placed[119] == (120, "patient")


def test_tenants_take_turns_however_much_one_of_them_wants() -> None:
    made = scheduler(a=0)
    for number in range(100):
        made.submit(job(f"loud {number}", tenant="loud"), 0)
    for number in range(3):
        made.submit(job(f"quiet {number}", tenant="quiet"), 0)
    placed = runs(made.credit("a", "", 7, 100_000, 0))
    assert [run.split()[0] for run in placed] == ["loud", "quiet", "loud", "quiet", "loud", "quiet", "loud"]


def test_a_tenant_that_was_idle_collects_no_turns() -> None:
    made = scheduler(a=0)
    for number in range(50):
        made.submit(job(f"busy {number}", tenant="busy"), 0)
    made.credit("a", "", 20, 100_000, 0)
    for number in range(50):
        made.submit(job(f"back {number}", tenant="back"), 0)
    shares = Counter(run.split()[0] for run in runs(made.credit("a", "", 40, 100_000, 0)))
    assert shares == {"back": 10, "busy": 10}


def test_a_large_job_is_placed_though_small_ones_never_cease() -> None:
    """It is passed by what fits while its runner has bytes left; once overdue, the runner is kept for it."""
    made = Scheduler(aging_s=10)
    made.connect("a", OFFER, 0)
    made.credit("a", "", 4, 100, 0)
    running = [f"small {number}" for number in range(4)]
    for run in running:
        made.submit(job(run, 20, tenant="small"), 0)
    made.submit(job("large", 90, tenant="large"), 0)
    attempts, size, random_ = 4, 100, random.Random(1)
    for second in range(1, 100):
        made.submit(job(f"small {second + 3}", 20, tenant="small"), second)
        running.pop(random_.randrange(len(running)))
        attempts, size = attempts + 1, size + 20
        placed = runs(made.credit("a", "", attempts, size, second))
        if "large" in placed:
            break
        assert placed if second < 30 else not placed
        running += placed
    assert second == 33  # overdue after three steps, then four small ones had to end


def test_a_runner_that_is_kept_is_let_go_when_the_large_job_is_withdrawn() -> None:
    made = Scheduler(aging_s=10)
    made.connect("a", OFFER, 0)
    made.credit("a", "", 3, 100, 0)
    made.submit(job("1", 60), 0)
    made.submit(job("large", 90), 0)
    assert made.credit("a", "", 3, 100, 30) == []
    assert made.submit(job("2", 10), 31) == ()
    assert runs(made.withdraw("large", 31)) == ["2"]


def test_operators_see_what_waits() -> None:
    made = scheduler()
    for number, (tenant, priority) in enumerate([("t", 1), ("t", 5), ("u", 3)]):
        made.submit(job(str(number), tenant=tenant, priority=priority), number)
    made.submit(job("3", need=Need("test.write", 1, ""), tenant="t"), 5)
    assert made.queue(10) == [Row("test.read", "t", 2, 10), Row("test.read", "u", 1, 8), Row("test.write", "t", 1, 5)]


def test_a_session_that_connects_again_begins_anew() -> None:
    made = scheduler(a=5)
    made.connect("a", OFFER, 0)
    assert made.submit(job("1"), 0) == ()
    assert runs(made.credit("a", "", 1, 100, 0)) == ["1"]
