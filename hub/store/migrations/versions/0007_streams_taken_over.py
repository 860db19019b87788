"""Streams that were told further than a restored database knows, taken over from Kafka."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the outbox keep what was told before the database was put back."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: what was told cannot be taken back."""
    raise NotImplementedError("what participants were told stays told")
