"""Remember a digest of each run's idempotency key."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("key_hash", sa.String(64), nullable=False, server_default=""))
    op.create_index("runs_by_key", "runs", ["tenant", "key_hash"], unique=True, sqlite_where=sa.text("key_hash != ''"))


def downgrade() -> None:
    op.drop_index("runs_by_key", "runs")
    op.drop_column("runs", "key_hash")
