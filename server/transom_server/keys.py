"""Know runs by their idempotency keys: a run is started once, and joined or refused when it is asked for again.

A key may hold anything a caller likes, so that nothing here holds more than a digest of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final, Protocol

import msgspec
from transom_wire.errors import KeyReused, RunExists, Unavailable

from transom_server.run import Run, State

REMEMBERED: Final = 10_000
LEDGER_WITHIN_S: Final = 5.0


class Keyed(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's key and what it asks for under it, both as digests."""

    tenant: str
    key_hash: str
    spec_digest: bytes


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands that a key belongs to."""

    run: str
    state: int
    reason: str

    def error(self) -> RunExists:
        """Describe it for a caller that asks for it again."""
        return RunExists(metadata={"run": f"runs/{self.run}", "state": State(self.state).name, "reason": self.reason})


class Memory(Protocol):
    """What remembers keys of runs that have ended long ago, or on an earlier server."""

    async def find_key(self, tenant: str, key_hash: str) -> Remembered | None:
        """Return the run of a key."""


def keyed_of(tenant: str, key: str, spec: bytes) -> Keyed:
    """Make digests of a tenant's key and of a whole spec. A tenant holds no NUL, so that no two pairs are alike."""
    key_hash = hashlib.sha256(f"{tenant}\0{key}".encode()).hexdigest()
    return Keyed(tenant=tenant, key_hash=key_hash, spec_digest=hashlib.sha256(spec).digest())


def standing(run: Run) -> Remembered:
    """Say how a run stands now."""
    error = run.outcome.error if run.outcome is not None else None
    return Remembered(run=run.id, state=int(run.state), reason=error.reason if error is not None else "")


class Keys:
    """The keys of live runs, of those that ended lately, and behind them the ledger's."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._turn = asyncio.Lock()
        """Who asks first is answered first, so that the newest of several is the one that joins."""
        self._live: dict[str, tuple[Run, bytes]] = {}
        self._ended: OrderedDict[str, Remembered] = OrderedDict()

    def add(self, keyed: Keyed, run: Run) -> None:
        """Note that a run was started under a key."""
        run.key_hash = keyed.key_hash
        self._live[keyed.key_hash] = run, keyed.spec_digest

    def end(self, run: Run) -> None:
        """Note that a run with a key has ended."""
        del self._live[run.key_hash]
        self._ended[run.key_hash] = standing(run)
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def find(self, keyed: Keyed) -> Run | None:
        """Return the live run of a key; None when nothing here knows the key.

        Raises:
            KeyReused: The live run is another.
            RunExists: The run has ended.
        """
        ended = self._ended.get(keyed.key_hash)
        if ended is not None:
            raise ended.error()
        run, digest = self._live.get(keyed.key_hash, (None, b""))
        if run is not None and digest != keyed.spec_digest:
            raise KeyReused
        return run

    async def search(self, keyed: Keyed) -> None:
        """Ask the ledger for a key that nothing here knows. What is here is to be asked again afterwards.

        Raises:
            RunExists: The ledger remembers a run of this key.
            Unavailable: The ledger does not answer: a run that may have been started before is not started.
        """
        try:
            async with asyncio.timeout(LEDGER_WITHIN_S), self._turn:
                found = await self._memory.find_key(keyed.tenant, keyed.key_hash)
        except Exception:  # noqa: BLE001 - whatever ails it, its text stays here
            raise Unavailable("the ledger cannot be asked for the idempotency key; try again") from None
        if found is not None and keyed.key_hash not in self._live:
            raise found.error()
