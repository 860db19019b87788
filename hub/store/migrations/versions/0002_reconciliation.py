"""Reconciliation: differences and daily reports."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of differences and of reports."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: what was published stays."""
    raise NotImplementedError("published reports are not taken back")
