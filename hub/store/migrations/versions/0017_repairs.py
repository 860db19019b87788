"""The operator's repair desk: what is asked, what a dry run showed, what was carried out."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision: str | None = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of repairs, and keep anybody from changing what a participant signed."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: what operators did is never dropped by a program."""
    raise NotImplementedError("what operators did cannot be forgotten")
