"""What the tests of the monitor share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oversight.watch import Watch
from tests.oversight.world import World


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Give a monitor that has followed a sound log with one recommendation, shown."""
    made = Watch(tmp_path, World.settled())
    made.publish()
    made.show()
    assert made.look() == set()
    yield made
    made.state.close()
