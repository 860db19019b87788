"""A SNAP door that is open on a real spool, a bank that calls it, and a clock that is set by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from connectors.bank.bill import Bill
from connectors.bank.book import BankBook
from connectors.bank.notifications import Behind, NotificationDoor
from connectors.bank.payments import Payments
from connectors.bank.profile import Partner, Partners, Profile
from connectors.bank.snap_listener import SnapProtocol
from connectors.bank.snap_token import Tokens
from connectors.link.door import open_door
from connectors.link.fact import Author
from connectors.link.spool import Spool
from tests.connectors.serving import served
from tests.connectors.snap_caller import SECRET, Caller, bank_key, inquiry, payment

AUTHOR = Author("bri", "https://bri.example/tka", "demo")
NOON = datetime(2026, 4, 1, 5, 0, 0, tzinfo=UTC)
TOKEN_KEY = b"k" * 32
CODE = "820260401000017"
BILL = Bill("open", "2026-04-01T00:00:00Z", "2400.00", "USD", "2026-04-08T00:00:00Z", "PT CONTOH")


def profile(**changes: Any) -> Profile:
    agreed = {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "unused.pem", **changes}
    return Profile.model_validate(agreed)


def partner(number: int = 1, **changes: Any) -> Partner:
    """A partner whose key is `bank_key(number)`."""
    agreed = profile(**changes)
    secret = SECRET if agreed.signature == "symmetric" else None
    return Partner(agreed, bank_key(number).public_key(), secret)


def code_of(response: httpx.Response) -> str:
    """The response code, once the answer was seen to be in SNAP's form."""
    answer = response.json()
    assert response.headers["content-type"] == "application/json"
    assert answer["responseCode"].startswith(str(response.status_code))
    assert answer["responseMessage"]
    return str(answer["responseCode"])


@dataclass
class SnapBench:
    """What a test holds."""

    http: httpx.AsyncClient
    spool: Spool
    book: BankBook
    payments: Payments
    door: NotificationDoor
    bank: Caller = field(default_factory=Caller)
    now: datetime = NOON

    async def notify(
        self, body: dict[str, Any] | bytes | None = None, external_id: str = "1001", **more: Any
    ) -> httpx.Response:
        at = more.pop("at", self.now)
        return await self.bank.notify(self.http, payment() if body is None else body, at, external_id, **more)

    async def inquire(self, body: dict[str, Any] | bytes | None = None, **more: Any) -> httpx.Response:
        return await self.bank.inquire(self.http, inquiry() if body is None else body, self.now, **more)

    async def tell(self, bill: Bill, code: str = CODE) -> None:
        """Let the hub have told of a bill."""
        await self.spool.put(notes={f"bill/{code}": bill.write()})

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def stored(self) -> int:
        return (await self.spool.status()).last_sequence

    async def asides(self) -> list[tuple[str, str]]:
        return [(aside.native_key, aside.code) for aside in await self.spool.unreported(1000)]


@asynccontextmanager
async def opened(
    folder: Path, *partners: Partner, bytes_max: int = 2**30, now: datetime = NOON, proxies: Any = ()
) -> AsyncIterator[SnapBench]:
    """Open the door as a process would."""
    bench: SnapBench | None = None

    def clock() -> datetime:
        return bench.now if bench else now

    known = Partners(partners or (partner(),))
    async with Spool.open(folder / "spool.sqlite", AUTHOR, bytes_max=bytes_max, clock=clock) as spool:
        book = BankBook(spool, known, AUTHOR.source, clock)
        payments = Payments(spool, book, clock)
        door = NotificationDoor(Behind(known, Tokens(TOKEN_KEY), payments, book, clock, proxies), CollectorRegistry())
        app = open_door()
        app.include_router(door.routes())
        app.include_router(book.routes())
        async with served(app, protocol=SnapProtocol) as address, httpx.AsyncClient(base_url=address) as http:
            secret = SECRET if known.all[0].secret else None
            caller = Caller(known.all[0].profile.partner_id, secret=secret)
            bench = SnapBench(http, spool, book, payments, door, caller, now)
            yield bench
