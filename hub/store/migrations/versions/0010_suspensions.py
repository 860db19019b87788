"""Keys that one person stopped, until two say what becomes of them."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of suspensions, and their number beside the registry's version."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: evidence is never dropped by a program."""
    raise NotImplementedError("a suspension cannot be forgotten")
