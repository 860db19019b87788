"""The desk against a real PostgreSQL: one transaction from a record to everything that follows from it."""

from collections.abc import AsyncIterator

import pytest

from tests.hub.exchange import Exchange


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    opened = await Exchange.open(database)
    yield opened
    await opened.database.close()


async def test_one_permit_and_one_payment_make_a_recommendation(exchange: Exchange) -> None:
    ministry, bri = exchange.ministry, exchange.bri
    taken = await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.approved(), ministry.billed()]))
    assert (taken.accepted, taken.duplicate, taken.refused) == (3, 0, {})
    assert [event["type"] for event in await exchange.sent("to.bri")] == ["id.tka.hub.bill.opened.v1"]

    taken = await exchange.take(bri.sign(bri.paid()))
    assert taken.accepted == 1
    assert [event["data"]["reason"] for event in (await exchange.sent("to.mandiri"))[1:]] == ["paid"]
    issued = await exchange.sent("recommendations")
    assert [event["data"]["state"] for event in issued] == ["issued"]
    assert [event["type"] for event in await exchange.sent("to.immigration")] == [issued[0]["type"]]
