"""Cases that keep what decisions read, and nothing else."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take out of the cases what no decision reads, and let the inbox be asked for a subject."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: a hub of the schema before would miss what was taken out."""
    raise NotImplementedError("what a case no longer keeps stands in the inbox alone")
