"""Let Alembic write the revisions as one SQL script; `hub.store.schema` runs the script through asyncpg."""

from alembic import context

context.configure(dialect_name="postgresql", transactional_ddl=False)
context.run_migrations()
