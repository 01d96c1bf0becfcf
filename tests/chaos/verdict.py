"""Judge what was seen. Each function returns complaints; none means that the promise was kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024
RSS_RATIO = 1.1
RSS_SLACK_BYTES = 16 * MIB
"""Beyond the tenth: allocators keep pages at the ends of their arenas, and how many is chance."""


@dataclass(slots=True, kw_only=True)
class Record:
    """What a caller saw of one run that it submitted."""

    number: int
    action: str
    size_bytes: int
    allowed_s: float
    """How long it may take until the caller knows: its deadline, the SDK's grace, and a bound."""
    outcomes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Typed errors that the SDK raised, by reason."""
    surprises: list[str] = field(default_factory=list)
    """Exceptions that the SDK does not promise."""
    took_s: float = 0.0
    right: bool | None = None
    """Whether the result of a run that succeeded is what was sent."""


def without_one_end(records: Iterable[Record], submitted: int) -> list[str]:
    """Find runs that ended twice, or of which nobody was told."""
    known = Counter(record.number for record in records)
    complaints = [f"run {number} was never heard of" for number in range(submitted) if not known[number]]
    for record in records:
        ends = len(record.outcomes) + len(record.errors)
        if ends != 1 or record.surprises:
            told = [*record.outcomes, *record.errors, *record.surprises]
            complaints.append(f"run {record.number} ({record.action}, {record.size_bytes} bytes) has {ends} ends: {told}")
    return complaints


def late(records: Iterable[Record]) -> list[str]:
    """Find runs whose caller was told too late."""
    return [f"run {one.number} took {one.took_s:.1f} s of {one.allowed_s:.1f}" for one in records if one.took_s > one.allowed_s]


def wrong(records: Iterable[Record]) -> list[str]:
    """Find runs that succeeded with another result than was sent."""
    return [f"run {one.number} succeeded with a wrong result" for one in records if one.outcomes == ["SUCCEEDED"] and not one.right]


def started_again(records: Iterable[Record], starts: Iterable[int]) -> list[str]:
    """Find runs with side effects that began more than once."""
    counted = Counter(starts)
    return [
        f"run {one.number} started {counted[one.number]} times, outcome {one.outcomes + one.errors}"
        for one in records
        if one.action == "chaos.charge" and counted[one.number] > 1
    ]


def orphans(processes: Iterable[Process]) -> list[str]:
    """Find processes that are still there."""
    return [f"process {one.pid} ({one.name}) is still there" for one in processes if one.alive()]


def leaks(name: str, before: Usage, after: Usage, *, lingering: int = 0) -> list[str]:
    """Find descriptors, beyond those that may linger, and memory that a process did not give back."""
    complaints = []
    if after.descriptors > before.descriptors + lingering:
        complaints.append(f"{name} has {after.descriptors} descriptors, and had {before.descriptors}")
    if after.rss_bytes > before.rss_bytes * RSS_RATIO + RSS_SLACK_BYTES:
        complaints.append(f"{name} holds {after.rss_bytes / MIB:.1f} MiB, and held {before.rss_bytes / MIB:.1f}")
    return complaints


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process holds."""

    descriptors: int
    rss_bytes: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Measure a process."""
        # Its size is the count of entries (Linux 6.2), also for those who may not list a process that is not dumpable.
        counted = os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH116, PTH208
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return cls(descriptors=counted, rss_bytes=pages * os.sysconf("SC_PAGESIZE"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, told from a later one of the same number by when it began."""

    pid: int
    name: str = field(compare=False)
    parent: int = field(compare=False)
    began: str
    state: str = field(compare=False, default="")

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Look a process up; None when there is none."""
        try:
            head, _, tail = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")
        except OSError:
            return None
        fields = tail.split()
        return cls(pid=pid, name=head.partition("(")[2], parent=int(fields[1]), began=fields[19], state=fields[0])

    def alive(self) -> bool:
        """Say whether it runs; one that only waits to be reaped by whoever inherited it holds nothing any more."""
        now = Process.of(self.pid)
        return now == self and now.state not in "ZX"


def descendants(roots: Iterable[int]) -> set[Process]:
    """List these processes and everything below them."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    everyone = {one.pid: one for one in map(Process.of, numbers) if one is not None}
    found: set[Process] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in everyone:
            found.add(everyone[pid])
            waiting += [one.pid for one in everyone.values() if one.parent == pid and one not in found]
    return found
