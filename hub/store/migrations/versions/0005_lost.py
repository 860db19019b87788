"""Stretches that were lost to retention: found fast, and acknowledged by an operator."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of acknowledgements, and the index of lost stretches."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: evidence is never dropped by a program."""
    raise NotImplementedError("what an operator has said cannot be taken back")
