"""The operator's repair desk: what is asked, what a dry run showed, what was carried out."""

from pathlib import Path

from alembic import op

revision = "0019"
down_revision: str | None = "0018"
branch_labels = None
depends_on = None
# It only adds: a hub that knows nothing of repairs works on.
FLOOR = "0018"


def upgrade() -> None:
    """Create the tables of repairs, and keep anybody from changing what a participant signed."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: what operators did is never dropped by a program."""
    raise NotImplementedError("what operators did cannot be forgotten")
