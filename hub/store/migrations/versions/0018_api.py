"""What the API keeps: machines with a secret, their access tokens, and answers by idempotency key."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision: str | None = "0017"
branch_labels = None
depends_on = None
# It adds tables alone.
FLOOR = "0017"


def upgrade() -> None:
    """Create the tables."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: evidence is never dropped by a program."""
    raise NotImplementedError("what was given out cannot be taken back")
