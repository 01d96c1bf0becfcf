"""Submit runs through the SDK, as fast as faults are injected, and record what their callers see."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Self

from transom_client import AttemptStarted, Client, Document, Ended, PartDone
from transom_client.submission import GRACE_S
from transom_wire.errors import TransomError

from chaos.theatre import Theatre
from chaos.verdict import Record

KIB = 1024
SIZES = (KIB, KIB, KIB, KIB, 100 * KIB, 100 * KIB, 3 * KIB * KIB)
SLOW_BYTES = 12 * KIB * KIB
"""Three windows of a result."""
ECHO, CHARGE = "chaos.echo", "chaos.charge"
TIMEOUT_S = 20.0
BOUND_S = 5.0
ALLOWED_S = TIMEOUT_S + GRACE_S + BOUND_S
CALLERS = 12
WARM_UP = 24
MEDIA_TYPE = "application/octet-stream"


@dataclass(slots=True)
class Counter:
    """A number that others wait for."""

    value: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, number: int) -> None:
        # Before the first wait, so that what is counted cannot be overlooked.
        self.value += number
        async with self.changed:
            self.changed.notify_all()

    async def raise_to(self, value: int) -> None:
        await self.add(max(0, value - self.value))

    async def until(self, reached: Callable[[int], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: reached(self.value))


class Load:
    """All runs, and those who submit them."""

    def __init__(self, stage: Theatre, seed: int) -> None:
        self._stage = stage
        self._seed = seed
        self._clients: list[Client] = []
        self._stack = AsyncExitStack()
        self._next = 0
        self.records: list[Record] = []
        self.ended = Counter()
        self.allowed = Counter()
        """How many runs may be begun: the faults set the pace."""
        """Live runs with side effects."""
        """Whether runs with side effects must not begin now."""

    async def __aenter__(self) -> Self:
        for profile in self._stage.profiles():
            self._clients.append(await self._stack.enter_async_context(Client(profile)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # The course of the runs.

    async def keep_sending(self, total: int) -> None:
        """Submit runs until there were enough in all, several at once."""
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(self._keep_sending(total))

    async def _keep_sending(self, total: int) -> None:
        while self._next < total:
            number, self._next = self._next, self._next + 1
            await self.allowed.until(lambda allowed, number=number: allowed > number)  # type: ignore[misc]
            await self.submit(number)

    async def submit(self, number: int) -> Record:
        """Submit a run whose kind depends on its number and the seed alone."""
        chance = random.Random(f"{self._seed} {number}")
        # The first ones take turns, so that everything that is opened for a size is open afterwards.
        size = SIZES[number % len(SIZES)] if number < WARM_UP else chance.choice(SIZES)
        charge = chance.random() < 0.4
        action = CHARGE if charge else ECHO
        data = chance.randbytes(size)
        return await self._follow(number, action, data, self._clients[number % len(self._clients)])

    async def submit_slowly(self, until_ended: int) -> Record:
        """Submit a run whose caller takes nothing of a large result until others have ended."""
        number, self._next = self._next, self._next + 1
        data = random.Random(f"{self._seed} {number}").randbytes(SLOW_BYTES)
        return await self._follow(number, ECHO, data, self._clients[0], until_ended=until_ended)

    async def _follow(self, number: int, action: str, data: bytes, client: Client, *, until_ended: int = 0) -> Record:
        record = Record(number=number, action=action, size_bytes=len(data), allowed_s=ALLOWED_S)
        self.records.append(record)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(ALLOWED_S + BOUND_S):
                await self._hear(record, data, client, until_ended)
        except TransomError as error:
            record.errors.append(error.reason)
        except TimeoutError:
            # Its record has no end: it is lost.
            pass
        except Exception as error:  # noqa: BLE001  # whatever it is, it is judged
            record.surprises.append(repr(error))
        record.took_s = time.monotonic() - begun
        await self.ended.add(1)
        if record.errors == ["UNAVAILABLE"]:
            await self._stage.up.wait()
        return record

    async def _hear(self, record: Record, data: bytes, client: Client, until_ended: int) -> None:
        parts: list[bytes] = []
        parameters = {"submission": record.number, "log": self._stage.starts.name}
        document = Document(source=data, media_type=MEDIA_TYPE)
        events = client.process(document, action=record.action, parameters=parameters, timeout_s=TIMEOUT_S)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, AttemptStarted):
                    parts.clear()
                    await self.ended.until(lambda ended: ended >= until_ended)
                elif isinstance(event, PartDone):
                    parts.append(event.data)
                elif isinstance(event, Ended):
                    record.outcomes.append(event.outcome.state.name)
                    if event.outcome.succeeded:
                        record.right = b"".join(parts) == data

    # What is asked about it afterwards.

    async def still_live(self) -> list[str]:
        """Ask the server for runs that it remembers as not ended."""
        return [
            f"the ledger calls {run.name} {run.state.name}"
            async for run in self._clients[0].runs.list(limit=100_000)
            if not run.state.ended
        ]


def summary(records: Sequence[Record]) -> dict[str, int]:
    """Count how runs ended."""
    counts: dict[str, int] = {}
    for record in records:
        for end in (*record.outcomes, *record.errors):
            counts[end] = counts.get(end, 0) + 1
    return counts
