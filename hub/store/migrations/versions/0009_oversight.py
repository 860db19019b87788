"""Oversight: dossiers, how far they follow the log, and findings."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of dossiers and findings; the log is followed from its beginning."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: a finding is never deleted."""
    raise NotImplementedError("findings are closed and never deleted")
