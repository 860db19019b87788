"""What lists and statistics read of each application, and the months' statistics."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision: str | None = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of files and of monthly statistics; each dossier is looked at once more to fill the first."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: what was published stays."""
    raise NotImplementedError("a month's published statistics cannot be taken back")
