"""Choose faults by a seed, and inject them one after the other while runs go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.processes import Program

from chaos.load import Load
from chaos.theatre import DEAD_AFTER_S, Theatre

WITHIN_S = 15.0
BRIEFLY_S = 0.3
FOR_LONG_S = DEAD_AFTER_S + 0.5
"""The other side gives a silent session up in between."""
OTHERS = 5
"""How many other runs end while a caller or worker is held."""

GENTLE = (
    "kill_worker", "kill_template", "stop_worker", "stop_server", "stop_runner", "cut_runner", "cut_callers", "half_open", "slow_caller",
)  # fmt: skip
"""Faults that the server and the daemon live through."""
DEADLY = ("kill_server", "kill_runner", "upgrade_runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens, and after which outcome."""

    kind: str
    after: int
    """Number of runs that have ended by then."""
    long: bool
    """Whether what is stopped stays so for longer than the other side waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sequence of faults, and how many runs go with it."""

    faults: Sequence[Fault]
    begin: int
    until: int
    """How many runs have ended before and afterwards."""
    per_fault: int
    slack: int
    """How many runs may begin beyond those that the next fault needs: some always wait, and some always run."""


def plan(seed: int, *, faults: int, begin: int, until: int, slack: int, kinds: Sequence[str]) -> Plan:
    """Choose faults so that every kind comes once before any comes again."""
    chance = random.Random(seed)
    chosen: list[str] = []
    while len(chosen) < faults:
        chosen += chance.sample(kinds, len(kinds))
    per = (until - begin - slack) // faults
    listed = [
        Fault(kind=kind, after=begin + number * per + chance.randrange(per), long=chance.random() < 0.5)
        for number, kind in enumerate(chosen[:faults])
    ]
    return Plan(faults=listed, begin=begin, until=until, per_fault=per, slack=slack)


class Faults:
    """The one who harms."""

    def __init__(self, stage: Theatre, load: Load) -> None:
        self._stage = stage
        self._load = load
        self._held: list[asyncio.Task[object]] = []

    async def inject(self, plan: Plan) -> None:
        """Inject all faults of a plan, each after its outcome; runs may begin as far as the next fault needs them."""
        for number, fault in enumerate(plan.faults):
            await self._load.allowed.raise_to(plan.begin + plan.slack + plan.per_fault * (number + 1))
            async with asyncio.timeout(2 * WITHIN_S):
                await self._load.ended.until(lambda ended, fault=fault: ended >= fault.after)  # type: ignore[misc]
                self._stage.look()
                await self._ways[fault.kind](self, fault)
            print(f"{fault.kind}{'+' * fault.long}@{fault.after}", end=" ", flush=True)
        await self._load.allowed.raise_to(plan.until)
        async with asyncio.timeout(2 * WITHIN_S):
            await asyncio.gather(*self._held)
        self._held.clear()

    # Kill.

    async def _kill_worker(self, fault: Fault) -> None:
        victim = await self._stage.starts.victim(WITHIN_S)
        os.kill(victim.pid, signal.SIGKILL)

    async def _kill_template(self, fault: Fault) -> None:
        victim = await self._stage.starts.victim(WITHIN_S)
        os.kill(victim.template, signal.SIGKILL)

    async def _kill_server(self, fault: Fault) -> None:
        with self._stage.down():
            await self._stage.kill_server()

    async def _kill_runner(self, fault: Fault) -> None:
        await self._stage.kill_runner()

    async def _upgrade_runner(self, fault: Fault) -> None:
        await self._stage.upgrade_runner()

    # Stop.

    async def _stop_worker(self, fault: Fault) -> None:
        victim = await self._stage.starts.victim(WITHIN_S)
        os.kill(victim.pid, signal.SIGSTOP)
        self._stage.starts.let_go(victim)
        until = self._load.ended.value + OTHERS
        try:
            await self._load.ended.until(lambda ended: ended >= until)
        finally:
            # Its template or daemon may have been killed meanwhile, and it with them.
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGCONT)

    async def _stop_server(self, fault: Fault) -> None:
        await _pause(self._stage.server, fault)

    async def _stop_runner(self, fault: Fault) -> None:
        await _pause(self._stage.runner, fault)

    # Break.

    async def _cut_runner(self, fault: Fault) -> None:
        self._stage.runner_relay.cut()

    async def _cut_callers(self, fault: Fault) -> None:
        self._stage.caller_relay.cut()

    async def _half_open(self, fault: Fault) -> None:
        self._stage.runner.skip()
        self._stage.runner_relay.stall()
        await self._stage.hear_runner("session.opened")
        self._stage.runner_relay.heal()

    async def _slow_caller(self, fault: Fault) -> None:
        until = self._load.ended.value + OTHERS
        self._held.append(asyncio.create_task(self._load.submit_slowly(until)))

    _ways: ClassVar[dict[str, Callable[[Faults, Fault], Awaitable[None]]]] = {
        "kill_worker": _kill_worker, "kill_template": _kill_template, "kill_server": _kill_server, "kill_runner": _kill_runner,
        "upgrade_runner": _upgrade_runner, "stop_worker": _stop_worker, "stop_server": _stop_server, "stop_runner": _stop_runner,
        "cut_runner": _cut_runner, "cut_callers": _cut_callers, "half_open": _half_open, "slow_caller": _slow_caller,
    }  # fmt: skip


async def _pause(program: Program, fault: Fault) -> None:
    """Stop a process; how long is the fault itself, since nothing happens meanwhile that could be waited for."""
    os.kill(program.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FOR_LONG_S if fault.long else BRIEFLY_S)
    finally:
        os.kill(program.pid, signal.SIGCONT)
