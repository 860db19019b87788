"""An account may be that of a subject of an OpenID provider."""

from pathlib import Path

from alembic import op

revision = "0020"
down_revision: str | None = "0019"
branch_labels = None
depends_on = None
# It only adds: a hub that knows nothing of providers works on.
FLOOR = "0018"


def upgrade() -> None:
    """Let an account name a subject."""
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Take the column away: whoever signs in by a provider has no other way then."""
    op.execute("ALTER TABLE accounts DROP COLUMN openid_subject")
