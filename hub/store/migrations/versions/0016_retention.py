"""What may go after its time: attempts by the month, and of what was refused all but its digest."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision: str | None = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and let labour offices have accounts."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: who was told what cannot be taken back."""
    raise NotImplementedError("what a grantee was told cannot be taken back")
