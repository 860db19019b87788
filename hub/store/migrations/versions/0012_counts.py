"""Daily counts, as the hub and as participants make them."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of counts and statements, and what finds them fast."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: evidence is never dropped by a program."""
    raise NotImplementedError("a count that was told cannot be taken back")
