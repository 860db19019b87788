"""The record of look-ups is closed each day, under a root that stands in the evidence log."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision: str | None = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give each look-up its leaf, and each day its root."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: who looked at what is evidence."""
    raise NotImplementedError("the roots of what was looked up cannot be taken back")
