"""The values that go into the scheduler and come out of it: jobs, what they need and are bound by, and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

Label = tuple[str, str]
"""A label's key and its value."""

MOST_URGENT = 1
LEAST_URGENT = 5


# These three are looked up in tables at every event: a tuple is hashed and compared in C, ten times as fast as a dataclass.
class Need(NamedTuple):
    """What a runner must offer to be given a run."""

    action: str
    min_containment: int
    zone: str
    """The zone that the run must not leave; empty for any."""
    pool: str = ""
    """The pool that must run it; empty for any."""
    require: frozenset[Label] = frozenset()
    """Labels that the runner must have, exactly."""


class Conflict(Enum):
    """What happens to a new run when its concurrency key is full."""

    QUEUE = "queue"
    """It waits."""
    SKIP = "skip"
    """It is dropped, as something that need not be done twice."""
    CANCEL_OLDER = "cancel older"
    """The oldest runs with the key make way for it."""
    FAIL = "fail"
    """It is dropped, as an error."""


class Concurrency(NamedTuple):
    """At most `limit` runs of one tenant with this key are under way at a time."""

    key: str
    limit: int = 1
    conflict: Conflict = Conflict.QUEUE


class Rate(NamedTuple):
    """So many attempts at runs of one tenant with this key start in `per_s` seconds.

    A token bucket: in any `w` seconds at most `runs * (1 + w / per_s)` start. The newest rate of a key counts.
    """

    key: str
    runs: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run, as far as the scheduler may know it."""

    run: str
    need: Need
    size_bytes: int
    tenant: str = ""
    priority: int = 3
    """From 1, the most urgent, to 5."""
    prefer: frozenset[Label] = frozenset()
    """Runners with more of these labels come first."""
    avoid: frozenset[str] = frozenset()
    """Sessions that did not take it before: the others come first."""
    concurrency: Concurrency | None = None
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one session's runner offers."""

    actions: frozenset[str]
    containment: int
    zone: str
    pool: str = ""
    """The pool whose credit is meant where none is named."""
    labels: frozenset[Label] = frozenset()

    def meets(self, need: Need) -> bool:
        """Whether the runner may be given runs with this need, its pool aside."""
        able = need.action in self.actions and self.containment >= need.min_containment
        return able and need.zone in {"", self.zone} and need.require <= self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Give the run to this session, on this pool's credit."""

    run: str
    session: str
    pool: str = ""


class DropReason(Enum):
    """Why a run will never be placed."""

    SKIPPED = "SKIPPED"
    """Its concurrency key was full, and it asked to be skipped then."""
    SUPERSEDED = "SUPERSEDED"
    """A newer run with its concurrency key took its place."""
    CONCURRENCY_EXCEEDED = "CONCURRENCY_EXCEEDED"
    """Its concurrency key was full, and it asked to fail then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """End this run, which waits or was just submitted: the scheduler has forgotten it."""

    run: str
    reason: DropReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel this run, which was placed: a newer one waits until it has ended."""

    run: str


Commands = Sequence[Placement | Drop | Cancel]
"""What is to be done, in this order."""


class Row(NamedTuple):
    """The jobs of one tenant that wait for one action."""

    action: str
    tenant: str
    depth: int
    oldest_age_s: float
