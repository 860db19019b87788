"""A clock that a test puts on while processes run. It imports nothing of ours, which would take the real clock."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path


def read_ahead() -> datetime:
    """Return the time, put on by as many hours as the file FAULT_CLOCK says."""
    return datetime.now(UTC) + timedelta(hours=float(Path(os.environ["FAULT_CLOCK"]).read_text()))
