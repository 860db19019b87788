"""Originals that may be erased, and the orders by which they were."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let originals go, and keep the orders."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: what was told cannot be taken back."""
    raise NotImplementedError("what was erased does not come back")
