"""People: accounts, sessions, and the attempts to sign in; and indices for what people look at."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of accounts and sessions."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Refuse: who signed in is evidence of who looked at what."""
    raise NotImplementedError("the record of sign-ins cannot be taken back")
