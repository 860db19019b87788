"""What a bank was told: bills and outcomes, asked over real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.bank.bill import Bill
from connectors.bank.book import BankBook
from connectors.bank.profile import Partners
from connectors.bank.translate import notification_key
from connectors.link.delivery import StreamItem, verify
from connectors.link.door import open_door
from connectors.link.fact import NewEvent
from connectors.link.message import event_id_of
from connectors.link.spool import Spool
from contracts.wire.signature import VerifiedRoots
from tests.connectors.parties import AUTHOR, BRI_SOURCE, World, payment
from tests.connectors.serving import served
from tests.connectors.snap_bench import NOON, partner
from tests.contracts.samples import CODE, SAMPLES

OPENED, CLOSED = "id.tka.hub.bill.opened.v1", "id.tka.hub.bill.closed.v1"
OUTCOME = "id.tka.hub.payment.outcome.v1"


class Bench:
    """A book, and a hub that tells it things."""

    def __init__(self, spool: Spool, book: BankBook, http: httpx.AsyncClient) -> None:
        self.spool = spool
        self.book = book
        self.http = http
        self._world = World()
        self._seq = 0

    async def tell(self, event: str, **data: Any) -> None:
        self._seq += 1
        item = self._world.word("to.bri", self._seq, event, {**SAMPLES[event], **data}, subject=CODE)
        assert item.value is not None
        stream = StreamItem("to.bri", 0, item.seq, item.key.encode(), item.value, item.headers, None)
        await self.book.handle(verify(stream, self._world.registry(), VerifiedRoots(), self._world.now))

    async def ask(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path)
        return dict(answer.json()) if answer.is_success else {"status": answer.status_code}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        book, app = BankBook(spool, Partners((partner(),)), BRI_SOURCE, lambda: NOON), open_door()
        app.include_router(book.routes())
        async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
            yield Bench(spool, book, http)


async def test_a_bill_is_open_until_it_is_closed_and_may_open_again(bench: Bench) -> None:
    assert await bench.ask(f"/bills/{CODE}") == {"status": 404}
    await bench.tell(OPENED)
    bill = await bench.ask(f"/bills/{CODE}")
    said = SAMPLES[OPENED]
    assert bill.pop("told_at")
    assert bill == {name: said[name] for name in ("amount", "currency", "expires_at")} | {"state": "open"}
    for reason in ("paid", "expired", "cancelled"):
        await bench.tell(CLOSED, reason=reason)
        assert (await bench.ask(f"/bills/{CODE}"))["state"] == reason
    await bench.tell(OPENED)
    assert (await bench.ask(f"/bills/{CODE}"))["state"] == "open"
    assert said["payer"] in str(await bench.spool.notes("bill/"))


async def test_the_payers_name_is_kept_only_while_the_bill_is_open(bench: Bench) -> None:
    await bench.tell(OPENED)
    await bench.tell(CLOSED, reason="paid")
    assert SAMPLES[OPENED]["payer"] not in str(await bench.spool.notes(""))
    bill = await bench.book.find_bill(CODE)
    assert bill is not None
    assert (bill.state, bill.amount) == ("paid", SAMPLES[OPENED]["amount"])


async def test_the_end_of_a_bill_never_heard_of_is_kept(bench: Bench) -> None:
    await bench.tell(CLOSED, reason="cancelled")
    bill = await bench.book.find_bill(CODE)
    assert isinstance(bill, Bill)
    assert (bill.state, bill.amount) == ("cancelled", None)


async def test_a_bill_that_opens_again_is_free_again(bench: Bench) -> None:
    await bench.tell(OPENED)
    await bench.spool.put(notes={f"settled/{CODE}": "A-1"})
    await bench.tell(OPENED)
    assert await bench.book.is_settled(CODE)
    await bench.tell(CLOSED, reason="paid")
    assert await bench.book.is_settled(CODE)
    await bench.tell(OPENED)
    assert not await bench.book.is_settled(CODE)


async def test_a_payment_has_the_state_of_its_message_and_its_last_outcome(bench: Bench) -> None:
    assert await bench.ask("/payments/A/1") == {"status": 404}
    known = payment(1)
    fact = NewEvent(notification_key("BRI-TKA", "A/1"), known.type, known.subject, known.time, CODE, known.data)
    await bench.spool.put([fact])
    event_id = event_id_of(BRI_SOURCE, fact.native_key)
    asked = await bench.ask("/payments/A/1")
    empty = {"code": None, "outcome": None, "refusal": None, "bank_says": None}
    assert asked == {"id": event_id, "message": "waiting", **empty}
    assert await bench.ask("/payments/A/1?partner_id=BRI-TKA") == asked
    assert await bench.ask("/payments/A/1?partner_id=ANOTHER") == {"status": 404}
    for outcome in ("unmatched", "matched"):
        await bench.tell(OUTCOME, outcome=outcome, payment={"source": BRI_SOURCE, "id": event_id})
        assert (await bench.ask("/payments/A/1"))["outcome"]["outcome"] == outcome
