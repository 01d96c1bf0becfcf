"""The judge sees what it is there to see: a scheduler with one fault planted is noticed, and soon."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from transom_server.scheduler import Offer, Scheduler
from transom_server.scheduling.credit import UNBOUNDED, Account, Session
from transom_server.scheduling.fleet import Fleet
from transom_server.scheduling.job import Job, Need
from transom_server.scheduling.limits import Bucket, Gates, Limits, Slots
from transom_server.scheduling.line import Ageing, Entry, Lane, Line

from server import test_scheduler
from server.test_scheduler_machine import DemandsMachine, LimitsMachine, SchedulerMachine, SizesMachine, TurnsMachine

# The generator alone: what it finds need not be made small, and the seed is fixed, so that this is no game of chance.
SOON = settings(
    max_examples=1000, stateful_step_count=50, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

_room = Account.room_bytes.fget
_give = Scheduler._give
_stand = Line._stand


def gives_no_turn(self: Scheduler, entry: Entry, *rest: Any) -> None:
    _give(self, entry, *rest)
    self._served.clear()


def ignores_slots(self: Gates, now_s: float) -> Slots | Bucket | None:
    return next((bucket for bucket in self.buckets if now_s < bucket.ready_at_s()), None)


def ignores_rates(self: Gates, now_s: float) -> Slots | Bucket | None:
    return self.slots if self.slots is not None and len(self.slots.placed) >= self.limit else None


def adds_totals(self: Account, total_attempts: int, total_bytes: int) -> None:
    self.granted_attempts += total_attempts
    self.granted_bytes += total_bytes
    self.capacity_bytes = max(self.capacity_bytes, self.granted_bytes - self.used_bytes)


def prefers_nobody(self: Fleet, job: Job) -> Account | None:
    return next((one for one in self.able(job.need) if one.held is None and one.room_bytes >= job.size_bytes), None)


def newest_first(self: Line, lane: Lane, now_s: float) -> None:
    if lane.jobs:
        lane.jobs.move_to_end(next(reversed(lane.jobs)), last=False)
    _stand(self, lane, now_s)


def ignores_the_zone(self: Offer, need: Need) -> bool:
    return need.action in self.actions and self.containment >= need.min_containment and need.require <= self.labels


def ignores_labels(self: Offer, need: Need) -> bool:
    return need.action in self.actions and self.containment >= need.min_containment and need.zone in {"", self.zone}


def forgets_lanes(self: Scheduler, gate: Slots | Bucket, now_s: float) -> list[Line]:
    for lane in list(gate.blocked):
        self._limits.unblock(gate, lane)
        lane.blocked_by = None
    return []


MUTANTS: dict[str, tuple[object, str, Any]] = {
    "forgets ageing": (Ageing, "class_of", lambda self, entry, now_s: (entry.priority, UNBOUNDED)),
    "ignores priority": (Ageing, "class_of", lambda self, entry, now_s: (1, UNBOUNDED)),
    "ages too fast": (Ageing, "class_of", lambda self, entry, now_s: (max(1, entry.priority - int(now_s - entry.since_s)), now_s + 1)),
    "keeps accounts from the start": (Ageing, "overdue", lambda self, entry, now_s: True),
    "gives no turns": (Scheduler, "_give", gives_no_turn),
    "takes the newest first": (Line, "_stand", newest_first),
    "overspends attempts": (
        Account,
        "room_bytes",
        property(lambda self: _room(self) if self.free_attempts > 0 else self.granted_bytes - self.used_bytes),
    ),
    "overspends bytes": (Account, "room_bytes", property(lambda self: UNBOUNDED if self.free_attempts > 0 else -1)),
    "adds totals up": (Account, "grant", adds_totals),
    "ignores concurrency keys": (Gates, "shut", ignores_slots),
    "ignores rates": (Gates, "shut", ignores_rates),
    "never frees a slot": (Limits, "ended", lambda self, run: None),
    "forgets who has a slot": (Limits, "holds", lambda self, run: False),
    "lets every new job in": (Scheduler, "_makes_way", lambda self, job, said, now_s: True),
    "cancels one too few": (Slots, "in_the_way", lambda self, limit: []),
    "never reopens a lane": (Scheduler, "_reopen", forgets_lanes),
    "forgets to wake": (Limits, "_set_wake", lambda self, bucket: None),
    "gives tokens early": (Bucket, "ready_at_s", lambda self: self.full_at_s - self.rate.runs * self.interval_s),
    "lets a large job block smaller ones": (Scheduler, "_smaller", lambda self, line, room, now_s: None),
    "keeps an account in vain": (Scheduler, "_in_vain", lambda self, entry, now_s: False),
    "ignores the zone": (Offer, "meets", ignores_the_zone),
    "ignores labels": (Offer, "meets", ignores_labels),
    "ignores the pool": (Account, "meets", lambda self, need: self.offer.meets(need)),
    "gives to a closed session": (Session, "closed", property(lambda self: False)),
    "prefers nobody": (Fleet, "_preferred", prefers_nobody),
    "notices no new session": (Scheduler, "_fleet_changed", lambda self: None),
}


WORLDS = {
    "forgets ageing": TurnsMachine,
    "ignores priority": TurnsMachine,
    "ages too fast": TurnsMachine,
    "gives no turns": TurnsMachine,
    "takes the newest first": TurnsMachine,
    "keeps accounts from the start": SizesMachine,
    "lets a large job block smaller ones": SizesMachine,
    "keeps an account in vain": SizesMachine,
    "cancels one too few": LimitsMachine,
    "ignores the zone": DemandsMachine,
    "ignores labels": DemandsMachine,
    "ignores the pool": DemandsMachine,
    "gives to a closed session": DemandsMachine,
    "prefers nobody": DemandsMachine,
}
"""Where one of the narrow worlds shows it sooner."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_scheduler_is_noticed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, broken = MUTANTS[mutant]
    monkeypatch.setattr(where, name, broken)
    with pytest.raises((AssertionError, KeyError)):  # some crash before the judge has spoken
        run_state_machine_as_test(WORLDS.get(mutant, SchedulerMachine), settings=SOON)


def test_a_scheduler_that_keeps_no_runner_for_a_large_job_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ageing, "overdue", lambda self, entry, now_s: False)
    with pytest.raises(AssertionError):
        test_scheduler.test_a_large_job_is_placed_though_small_ones_never_cease()
