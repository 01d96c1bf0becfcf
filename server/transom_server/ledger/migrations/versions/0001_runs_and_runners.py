"""Create the tables of runs and runners."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    def number(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
        return sa.Column(name, kind, nullable=False)

    def text(name: str, size: int) -> sa.Column[str]:
        return sa.Column(name, sa.String(size), nullable=False)

    op.create_table(
        "runs",
        sa.Column("run", sa.String(64), primary_key=True),
        text("tenant", 128), text("principal", 256), text("action", 128), number("state"), text("reason", 64), text("runner", 128),
        number("attempts"), number("documents"), number("size_bytes", sa.BigInteger), number("pages"), number("pages_failed"),
        number("create_time_us", sa.BigInteger), number("start_time_us", sa.BigInteger), number("end_time_us", sa.BigInteger),
        number("containment"), number("processes"), number("disk_write_blocks", sa.BigInteger),
        number("discarded_output_bytes", sa.BigInteger), number("peak_rss_bytes", sa.BigInteger), number("cpu_time_us", sa.BigInteger),
    )  # fmt: skip
    op.create_index("runs_by_tenant", "runs", ["tenant", "run"])
    op.create_table(
        "runners",
        sa.Column("runner", sa.String(128), primary_key=True),
        text("hostname", 256), text("pool", 64), text("software", 64), number("containment"),
        number("last_seen_time_us", sa.BigInteger), text("actions", 8192),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("runners")
    op.drop_index("runs_by_tenant", "runs")
    op.drop_table("runs")
