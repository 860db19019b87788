"""What makes a commit survive a power cut is on, everywhere: SIGKILL alone cannot prove it."""

import httpx
import pytest

from devstack.postgres import DURABLE
from tests.faults.exchange import Exchange
from tests.faults.rig import CONNECTORS


@pytest.mark.parametrize("setting", DURABLE)
def test_postgresql_is_durable(setting: str, exchange: Exchange) -> None:
    assert exchange.observer.fetch(f"SELECT current_setting('{setting}')")[0][0] == "on"


@pytest.mark.parametrize("connector", CONNECTORS)
def test_every_spool_is_durable(connector: str, exchange: Exchange) -> None:
    spool = httpx.get(exchange.rig.url(connector) + "/readyz", timeout=5).json()["spool"]
    assert (spool["journal_mode"], spool["synchronous"]) == ("wal", "FULL")
