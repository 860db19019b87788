"""The exchange: positions, inbox, cases, evidence leaves, outbox, quarantine, registry, timers."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table of the first version."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: evidence is never dropped by a program."""
    raise NotImplementedError("the first version of the schema holds the evidence and cannot be taken back")
