"""Choose a runner for each run. Pure: events in, commands out; no clock, no I/O, and no byte of a document.

After every event nothing waits that could be placed. So a new job may be placed at once, past nobody, and an event has only to
look at what it has changed: the account that got credit, or the lanes whose gate has opened. What was due before an event comes
before it, as if the timer had fired in time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from transom_server.run import Waiting
from transom_server.scheduling.credit import Account, Session
from transom_server.scheduling.fleet import Fleet
from transom_server.scheduling.job import (
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
    Row,
)
from transom_server.scheduling.limits import Bucket, Gates, Limits, Slots
from transom_server.scheduling.line import Ageing, Entry, Found, Lane, Line, first_turn, size_class

__all__ = [
    "Cancel", "Commands", "Concurrency", "Conflict", "Drop", "DropReason", "Job", "Need", "Offer", "Placement", "Rate", "Row", "Scheduler",
]  # fmt: skip

_OPEN = Gates(None, 0, ())
_Said = list[Placement | Drop | Cancel]


class Scheduler:
    """Match jobs with sessions that have credit. `now_s` is monotonic, in seconds."""

    def __init__(self, *, aging_s: float = 30.0) -> None:
        self._fleet = Fleet()
        self._lines: dict[tuple[Need, int], Line] = {}
        self._waiting: dict[str, Entry] = {}
        self._served: dict[str, int] = {}
        """When each tenant had its last turn, in turns; turns begin anew when nobody waits."""
        self._held: dict[Account, Entry] = {}
        """The accounts that are kept for an overdue job which does not fit yet."""
        self._limits = Limits()
        self._ageing = Ageing(aging_s)
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    # Events of runs.

    def submit(self, job: Job, now_s: float) -> Commands:
        """Place a job at once, or queue it; also one that was placed before and has to be tried again: it keeps its slot."""
        if job.concurrency is not None or job.rates or job.run in self._waiting or self._limits.wakes:
            return self._submit_limited(job, now_s)
        account = self._fleet.best(job)
        if account is None:
            self._enqueue(job, _OPEN, now_s)
            return ()
        account.take(job.size_bytes)
        return (Placement(run=job.run, session=account.session, pool=account.pool),)

    def _submit_limited(self, job: Job, now_s: float) -> Commands:
        if (old := self._waiting.get(job.run)) is not None:
            self._remove(old, now_s)
        said = self._catch_up(now_s)
        if self._makes_way(job, said, now_s):
            gates = self._limits.gates(job, now_s)
            account = self._fleet.best(job) if gates.shut(now_s) is None else None
            if account is None:
                self._enqueue(job, gates, now_s)
            else:
                self._pay(job, account, gates, said, now_s)
        return self._settle(self._due(now_s), said, now_s)  # due now, if the job came with a quicker rate

    def withdraw(self, run: str, now_s: float) -> Commands:
        """Take a job off its queue; a run that does not wait is not concerned."""
        return self.ended(run, now_s) if run in self._waiting else self.tick(now_s)

    def ended(self, run: str, now_s: float) -> Commands:
        """Forget a run that will not be tried again, whether it waits or was placed: its slot is free."""
        entry = self._waiting.get(run)
        if entry is not None:
            self._remove(entry, now_s)
        elif not self._limits.wakes and not self._limits.holds(run):
            return ()
        slots = self._limits.ended(run)
        freed = self._reopen(slots, now_s) if slots is not None else []
        return self._settle([*freed, *self._due(now_s)], [], now_s)

    # Events of sessions, and of time.

    def connect(self, session: str, offer: Offer, now_s: float) -> Commands:
        """Add a session, without credit yet."""
        self._forget(session)
        self._fleet.connect(session, offer)
        self._fleet_changed()
        return self.tick(now_s)

    def credit(self, session: str, pool: str, total_attempts: int, total_bytes: int, now_s: float) -> Commands:
        """Raise a pool's credit to these totals; totals never fall. An empty name means the pool that the session offers."""
        known = self._fleet.sessions.get(session)
        said = self._catch_up(now_s)
        if known is None:
            return said
        pools = len(known.accounts)
        account = self._fleet.account(known, pool)
        if len(known.accounts) > pools:
            self._fleet_changed()
        account.grant(total_attempts, total_bytes)
        if not self._waiting or known.closed:
            return said
        self._fill(account, said, now_s)
        return self._settle((), said, now_s)

    def cordon(self, session: str, now_s: float) -> Commands:
        """Give a session nothing more until the cordon is lifted."""
        return self._close(session, now_s, cordoned=True)

    def uncordon(self, session: str, now_s: float) -> Commands:
        """Lift a cordon."""
        known = self._fleet.sessions.get(session)
        said = self._catch_up(now_s)
        if known is None or not known.cordoned:
            return said
        known.cordoned = False
        self._fleet_changed()
        if not known.closed:
            self._offer(list(known.accounts.values()), said, now_s)
        return self._settle((), said, now_s)

    def drain(self, session: str, now_s: float) -> Commands:
        """Give a session nothing more, for good."""
        return self._close(session, now_s, draining=True)

    def disconnect(self, session: str, now_s: float) -> Commands:
        """Forget a session; the runs it had are submitted again, or ended, by who carries them."""
        self._forget(session)
        return self.tick(now_s)

    def tick(self, now_s: float) -> Commands:
        """Place what waited for time alone."""
        return self._catch_up(now_s)

    # Questions.

    def wake_at(self) -> float | None:
        """Tell when the next `tick` may place a job that waits for time alone; none when no job does."""
        return self._limits.wake_at_s()

    def waiting(self, job: Job, now_s: float) -> Waiting:
        """Say why a job waits."""
        if not self._fleet.able(job.need):
            return Waiting.NO_RUNNER
        entry = self._waiting.get(job.run)
        shut = entry is not None and entry.lane.gates.shut(now_s) is not None
        return Waiting.LIMIT if shut else Waiting.BUSY

    def queue(self, now_s: float) -> list[Row]:
        """List what waits, by action and tenant. Costs as much as there are kinds of jobs, however many jobs wait."""
        found: dict[tuple[str, str], tuple[int, float]] = {}
        for line in self._lines.values():
            for lane in line.lanes.values():
                name = (line.need.action, lane.tenant)
                depth, since_s = found.get(name, (0, now_s))
                found[name] = depth + len(lane.jobs), min(since_s, next(iter(lane.jobs.values())).since_s)
        return [Row(*name, depth, now_s - since_s) for name, (depth, since_s) in sorted(found.items())]

    # Which job, for an account.

    def _fill(self, account: Account, said: _Said, now_s: float) -> None:
        while (room := account.room_bytes) >= 0:
            entry = account.held or self._next(account, room, now_s)
            if entry is None or entry.job.size_bytes > room:
                return
            self._give(entry, account, said, now_s)

    def _next(self, account: Account, room: float, now_s: float) -> Entry | None:
        """Find the job whose turn it is on this account; one that is overdue and does not fit has the account kept for it."""
        best: Found | None = None
        due: Found | None = None
        for line in self._lines.values():
            if account not in line.able:
                continue
            found = self._first(line, now_s)
            if found is not None and found.entry.job.size_bytes > room:
                if line.holder is None and line.overdue(found.entry, now_s) and (due is None or found < due):
                    due = found
                found = self._smaller(line, room, now_s)
            if found is not None and (best is None or found < best):
                best = found
        if due is None or (best is not None and best < due):
            return best.entry if best is not None else None
        self._held[account] = due.entry
        account.held, due.entry.lane.line.holder = due.entry, account
        return due.entry

    def _first(self, line: Line, now_s: float) -> Found | None:
        while (found := line.first(now_s)) is not None:
            if self._admitted(found.entry.lane, now_s):
                return found
        return None

    def _smaller(self, line: Line, room: float, now_s: float) -> Found | None:
        if line.smallest_bytes > room:
            return None
        admitted = [lane for lane in line.lanes.values() if lane.blocked_by is None and self._admitted(lane, now_s)]
        return min((found for lane in admitted if (found := line.first_in(lane, room, now_s)) is not None), default=None)

    def _admitted(self, lane: Lane, now_s: float) -> bool:
        """Whether a lane may pass its gates; if not it takes no turns until the gate opens."""
        gate = lane.gates.shut(now_s)
        if gate is not None:
            lane.line.step_out(lane)
            lane.blocked_by = gate
            self._limits.block(gate, lane)
        return gate is None

    # What a decision changes.

    def _enqueue(self, job: Job, gates: Gates, now_s: float) -> None:
        entry = Entry(job, next(self._numbers), now_s)
        kind = (job.need, size_class(job.size_bytes))
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = Line(job.need, self._ageing, self._served)
            line.able = set(self._fleet.able(job.need))
        key = (job.tenant, entry.priority, job.concurrency if gates.slots is not None else None, job.rates)
        lane = line.lanes.get(key)
        if lane is None:
            lane = line.lanes[key] = Lane(line, key, job.tenant, gates)
            for bucket in gates.buckets:
                bucket.lanes += 1
        if gates.slots is not None:
            gates.slots.waiting[job.run] = None
        self._waiting[job.run] = entry
        line.add(entry, lane, now_s)
        if lane.blocked_by is None:
            # A gate that is shut has to be noticed now: its opening may be all that this job waits for.
            self._admitted(lane, now_s)

    def _remove(self, entry: Entry, now_s: float) -> None:
        lane, line = entry.lane, entry.lane.line
        del self._waiting[entry.job.run]
        line.remove(entry, now_s)
        if lane.gates.slots is not None:
            del lane.gates.slots.waiting[entry.job.run]
            self._limits.forget(lane.gates.slots)
        if not lane.jobs:
            if lane.blocked_by is not None:
                self._limits.unblock(lane.blocked_by, lane)
            for bucket in lane.gates.buckets:
                bucket.lanes -= 1
        if not line.lanes:
            del self._lines[line.need, size_class(entry.job.size_bytes)]
        if not self._waiting:
            self._served.clear()

    def _give(self, entry: Entry, account: Account, said: _Said, now_s: float) -> None:
        lane = entry.lane
        self._served[lane.tenant] = next(self._numbers)
        self._remove(entry, now_s)
        if account.held is entry:
            self._release(account)
        self._pay(entry.job, account, lane.gates, said, now_s)

    def _pay(self, job: Job, account: Account, gates: Gates, said: _Said, now_s: float) -> None:
        account.take(job.size_bytes)
        self._limits.placed(job.run, gates, now_s)
        said.append(Placement(run=job.run, session=account.session, pool=account.pool))

    def _makes_way(self, job: Job, said: _Said, now_s: float) -> bool:
        """Resolve a new job's conflict over its concurrency key; false when it is the new job that yields."""
        wanted = job.concurrency
        if wanted is None or wanted.conflict is Conflict.QUEUE or self._limits.holds(job.run):
            return True
        slots = self._limits.slots(job.tenant, wanted)
        if not slots.full(max(1, wanted.limit)):
            return True
        if wanted.conflict is not Conflict.CANCEL_OLDER:
            skipped = wanted.conflict is Conflict.SKIP
            said.append(Drop(run=job.run, reason=DropReason.SKIPPED if skipped else DropReason.CONCURRENCY_EXCEEDED))
            return False
        for run in [*slots.waiting, *(run for run in slots.placed if run in self._waiting)]:
            self._remove(self._waiting[run], now_s)
            self._limits.ended(run)
            said.append(Drop(run=run, reason=DropReason.SUPERSEDED))
        for run in slots.in_the_way(max(1, wanted.limit)):
            slots.cancelled.add(run)
            said.append(Cancel(run=run))
        return True

    # What an event leaves to do.

    def _catch_up(self, now_s: float) -> _Said:
        said: _Said = []
        if self._limits.wakes:
            self._spend(said, now_s)
            self._settle(self._due(now_s), said, now_s)
        return said

    def _spend(self, said: _Said, now_s: float) -> None:
        """Spend new tokens on the lanes whose turn it is, while they can be placed: to reopen all for a token or two costs more."""
        while (found := first_turn([bucket.blocked for bucket in self._limits.ready(now_s)], now_s)) is not None:
            lane = found.entry.lane
            if lane.gates.shut(now_s) is None:
                account = self._fleet.best(found.entry.job)
                if account is None:
                    return
                self._give(found.entry, account, said, now_s)  # the rest of the lane stays where it is, for the next token
            elif lane.blocked_by is not None:
                self._limits.unblock(lane.blocked_by, lane)
                self._admitted(lane, now_s)

    def _due(self, now_s: float) -> list[Line]:
        """Reopen the lanes that have waited for time alone, and return their lines."""
        lines: list[Line] = []
        while (bucket := self._limits.opened(now_s)) is not None:
            lines += self._reopen(bucket, now_s)
        return lines

    def _reopen(self, gate: Slots | Bucket, now_s: float) -> list[Line]:
        """Let the lanes that a gate kept back take turns again, and return their lines."""
        lanes = list(gate.blocked)
        for lane in lanes:
            self._limits.unblock(gate, lane)
            lane.line.step_in(lane, now_s)
        return list(dict.fromkeys(lane.line for lane in lanes))

    def _settle(self, lines: Sequence[Line], said: _Said, now_s: float) -> Commands:
        """Place what can be placed now in lines where lanes have reopened; then give up what was kept in vain."""
        self._choose(lines, said, now_s)
        while in_vain := [account for account, entry in self._held.items() if self._in_vain(entry, now_s)]:
            for account in in_vain:
                self._release(account)
            self._offer(in_vain, said, now_s)
        return said

    def _in_vain(self, entry: Entry, now_s: float) -> bool:
        return self._waiting.get(entry.job.run) is not entry or entry.lane.gates.shut(now_s) is not None

    def _offer(self, accounts: list[Account], said: _Said, now_s: float) -> None:
        """Let jobs choose among accounts that were closed; then let these be kept for what is overdue and does not fit."""
        self._choose([line for line in self._lines.values() if not line.able.isdisjoint(accounts)], said, now_s)
        for account in accounts:
            self._fill(account, said, now_s)

    def _choose(self, lines: Sequence[Line], said: _Said, now_s: float) -> None:
        while (found := self._placeable(lines, now_s)) is not None:
            account = self._fleet.best(found.entry.job)
            if account is None:
                return
            self._give(found.entry, account, said, now_s)

    def _placeable(self, lines: Sequence[Line], now_s: float) -> Found | None:
        best: Found | None = None
        for line in lines:
            room = max((account.room_bytes for account in line.able if account.held is None), default=-1)
            found = self._first(line, now_s) if room >= 0 and line.lanes else None
            if found is not None and found.entry.job.size_bytes > room:
                found = self._smaller(line, room, now_s)
            if found is not None and (best is None or found < best):
                best = found
        return best

    def _release(self, account: Account) -> None:
        entry = account.held
        if entry is not None:
            account.held = entry.lane.line.holder = None
            del self._held[account]

    def _fleet_changed(self) -> None:
        self._fleet.changed()
        for line in self._lines.values():
            line.able = set(self._fleet.able(line.need))

    def _close(self, session: str, now_s: float, *, cordoned: bool = False, draining: bool = False) -> Commands:
        known = self._fleet.sessions.get(session)
        if known is not None:
            known.cordoned, known.draining = known.cordoned or cordoned, known.draining or draining
            self._let_go(known)
        return self.tick(now_s)

    def _forget(self, session: str) -> None:
        if (known := self._fleet.sessions.pop(session, None)) is not None:
            self._let_go(known)

    def _let_go(self, known: Session) -> None:
        for account in known.accounts.values():
            self._release(account)
        self._fleet_changed()
