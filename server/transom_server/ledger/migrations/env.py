"""Run Alembic's migrations on the connection that the ledger hands over."""

from alembic import context
from transom_server.ledger.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
