"""The database says which older hubs may still work on its schema, so that releases can be rolled out one by one."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision: str | None = "0016"
branch_labels = None
depends_on = None
# Hubs before this one start on their own schema alone.
FLOOR = "0017"


def upgrade() -> None:
    """Add the floor; `hub.store.schema` writes it."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: an older hub would believe that nobody else works here."""
    raise NotImplementedError("a schema that was rolled out is not taken back")
