"""The evidence log: the tree, its tiles, checkpoints and cosignatures."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the log's tree."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: evidence is never dropped by a program."""
    raise NotImplementedError("what a witness has seen cannot be taken back")
