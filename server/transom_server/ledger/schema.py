"""Name the ledger's tables. Each column is a field of a record in transom.ledger.v1; a test compares the two."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, text

METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("run", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("principal", String(256), nullable=False),
    Column("action", String(128), nullable=False),
    Column("state", Integer, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("runner", String(128), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("documents", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("pages", Integer, nullable=False),
    Column("pages_failed", Integer, nullable=False),
    Column("create_time_us", BigInteger, nullable=False),
    Column("start_time_us", BigInteger, nullable=False),
    Column("end_time_us", BigInteger, nullable=False),
    Column("containment", Integer, nullable=False),
    Column("processes", Integer, nullable=False),
    Column("disk_write_blocks", BigInteger, nullable=False),
    Column("discarded_output_bytes", BigInteger, nullable=False),
    Column("peak_rss_bytes", BigInteger, nullable=False),
    Column("cpu_time_us", BigInteger, nullable=False),
    Column("key_hash", String(64), nullable=False),
    Index("runs_by_tenant", "tenant", "run"),
    Index("runs_by_key", "tenant", "key_hash", unique=True, sqlite_where=text("key_hash != ''")),
)

RUNNERS = Table(
    "runners",
    METADATA,
    Column("runner", String(128), primary_key=True),
    Column("hostname", String(256), nullable=False),
    Column("pool", String(64), nullable=False),
    Column("software", String(64), nullable=False),
    Column("containment", Integer, nullable=False),
    Column("last_seen_time_us", BigInteger, nullable=False),
    Column("actions", String(8192), nullable=False),
)
