"""Keep the ledger: one writer thread, in batches, off the path of documents; readers see everything noted before.

Bounded: at most one record per live run waits, since a later note of a run replaces the earlier one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Engine, create_engine, event, select, update
from sqlalchemy.dialects.sqlite import insert
from transom.ledger.v1 import record_pb2
from transom.runs.v1 import run_pb2
from transom_wire.errors import InvalidRequest, RunUnknown

from transom_server.keys import Remembered
from transom_server.ledger.persistable import NotPersistable, Persistable, scrub
from transom_server.ledger.records import SeenRunner, run_from_row, run_record, runner_record
from transom_server.ledger.schema import RUNNERS, RUNS
from transom_server.run import Run, State

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.05
MAX_PAGE = 1000
DEFAULT_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRunner:
    """A runner that the ledger remembers."""

    runner: str
    hostname: str
    pool: str
    software: str
    containment: int
    last_seen_s: float
    actions: tuple[str, ...]


def open_engine(path: Path) -> Engine:
    """Open (and create) the SQLite file, and bring its tables up to date."""
    # hide_parameters: an error's text must never hold a value.
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True, echo=False)

    @event.listens_for(engine, "connect")
    def pragmas(connection: Any, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    path.chmod(0o600)
    return engine


class Ledger:
    """What the server may remember. `note` never waits; the loop's own thread does no I/O."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._runners: dict[str, Persistable[record_pb2.RunnerRecord]] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._flusher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """End what an earlier server left unfinished, and begin to write."""
        with self._engine.begin() as connection:
            lost = {"state": int(State.LOST), "reason": "SERVER_LOST", "end_time_us": RUNS.c.create_time_us}
            connection.execute(update(RUNS).where(RUNS.c.end_time_us == 0).values(lost))
        self._flusher = asyncio.create_task(self._flush_often(), name="ledger flusher")

    async def close(self) -> None:
        """Write what is noted, and close the file."""
        if self._flusher is not None:
            self._flusher.cancel()
        await self.flush()
        self._thread.shutdown()
        self._engine.dispose()

    def note(self, run: Run) -> None:
        """Note how a run stands."""
        # The record is made when it is written, so that a short run costs one, and none while its caller waits.
        self._runs[run.id] = run

    def note_runner(self, runner: SeenRunner) -> None:
        """Note that a runner was heard of."""
        self._runners[runner.runner] = scrub(runner_record(runner))

    async def flush(self) -> None:
        """Write everything noted so far."""
        runs, self._runs = self._runs, {}
        runners, self._runners = self._runners, {}
        if runs or runners:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, _records(runs.values()), list(runners.values()))

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - a full disk must not end the server
                log.error("ledger.failed", extra={"reason": type(error).__name__})  # noqa: TRY400

    def _write(self, runs: list[Persistable[record_pb2.RunRecord]], runners: list[Persistable[record_pb2.RunnerRecord]]) -> None:
        with self._lock, self._engine.begin() as connection:
            for table, rows in ((RUNS, [_row(one.record) for one in runs]), (RUNNERS, [_row(one.record) for one in runners])):
                if rows:
                    statement = insert(table)
                    key = next(iter(table.primary_key.columns))
                    changed = {column.name: statement.excluded[column.name] for column in table.columns if column is not key}
                    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=changed), rows)

    async def get_run(self, tenant: str, run_id: str) -> run_pb2.Run:
        """Return a remembered run of this tenant.

        Raises:
            RunUnknown: There is none.
        """
        query = select(RUNS).where(RUNS.c.tenant == tenant, RUNS.c.run == run_id)
        rows = await self._read(query)
        if not rows:
            raise RunUnknown
        return run_from_row(rows[0])

    async def find_key(self, tenant: str, key_hash: str) -> Remembered | None:
        """Return how the run of an idempotency key stands."""
        rows = await self._read(select(RUNS).where(RUNS.c.tenant == tenant, RUNS.c.key_hash == key_hash, RUNS.c.key_hash != ""))
        return Remembered(run=rows[0].run, state=rows[0].state, reason=rows[0].reason) if rows else None

    async def list_runs(self, tenant: str, *, size: int, token: str, states: list[int], action: str) -> tuple[list[run_pb2.Run], str]:
        """List a tenant's runs, newest first; returns them and where the next page begins.

        Raises:
            InvalidRequest: The page size is negative.
        """
        if size < 0:
            raise InvalidRequest(violations=[("page_size", "must not be negative")])
        size = min(size or DEFAULT_PAGE, MAX_PAGE)
        query = select(RUNS).where(RUNS.c.tenant == tenant).order_by(RUNS.c.run.desc()).limit(size + 1)
        if token:
            query = query.where(RUNS.c.run < token)
        if states:
            query = query.where(RUNS.c.state.in_(states))
        if action:
            query = query.where(RUNS.c.action == action)
        rows = await self._read(query)
        return [run_from_row(row) for row in rows[:size]], rows[size - 1].run if len(rows) > size else ""

    async def list_runners(self) -> list[KnownRunner]:
        """List every runner that was ever heard of."""
        return [
            KnownRunner(
                runner=row.runner, hostname=row.hostname, pool=row.pool, software=row.software, containment=row.containment,
                last_seen_s=row.last_seen_time_us / 1e6, actions=tuple(filter(None, row.actions.split(","))),
            )
            for row in await self._read(select(RUNNERS).order_by(RUNNERS.c.runner))
        ]  # fmt: skip

    async def _read(self, query: Any) -> list[Any]:
        await self.flush()

        def fetch() -> list[Any]:
            with self._lock, self._engine.connect() as connection:
                return list(connection.execute(query))

        return await asyncio.get_running_loop().run_in_executor(self._thread, fetch)


def _records(runs: Iterable[Run]) -> list[Persistable[record_pb2.RunRecord]]:
    """Make the records that may be written. In the loop's own thread, since runs change there."""
    records = []
    for run in runs:
        try:
            records.append(scrub(run_record(run)))
        except NotPersistable:
            # Fail closed for the ledger, open for the run: it is served, and not remembered.
            log.warning("ledger.refused", extra={"run": run.id})
    return records


def _row(record: record_pb2.RunRecord | record_pb2.RunnerRecord) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in record.DESCRIPTOR.fields}
    return {name: ",".join(value) if not isinstance(value, (str, int)) else value for name, value in values.items()}
