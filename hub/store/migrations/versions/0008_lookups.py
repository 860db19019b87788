"""Look-ups: who looked at whose file, and why; and where a case's recommendations stand on their stream."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of look-ups, and the index of recommendations."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: who looked at what is evidence."""
    raise NotImplementedError("the record of look-ups cannot be taken back")
