"""The hall: the pages over a real database, with applications at every stage, and somebody of each role."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fastapi import FastAPI
from fastapi.routing import APIRoute

from contracts.events.ministry import digest_secret
from contracts.oversight.dossier import Dossier
from contracts.oversight.handling import HandlingRow, HandlingTally, read_handling
from contracts.oversight.statistics import WHOLES, count_month, observe
from hub.accounts import Role, make_account
from hub.health import Health
from hub.lookups import Register
from hub.overseer import Overseer
from hub.store import accounts, statistics
from hub.store.database import Database
from hub.store.statistics import Month
from hub.trust import RegistryInForce
from hub.web import facts, inquiries, log, machines, probes, tokens
from hub.web.access import Guard
from hub.web.counter import Counter
from hub.web.pages import door
from hub.web.pages.staff import Office
from tests.hub.exchange import PERSON, Exchange
from tests.oversight.year import RULES, read_facts, tell

URL = "https://hub.example"
OVERSIGHT_KEY = X25519PrivateKey.generate()
PASSWORD = "the kawung has four petals"
SECRET = "kawung-7Q2M-4TX9-D3PL"
OVERSTAYED = "B.3/000198/PK.04.00/III/2025"
SILENT = "B.3/000199/PK.04.00/III/2026"
LOOKED_AT_ONCE = 50
MONTHS = [date(2025, number, 1) for number in range(2, 13)]
YEAR_END = datetime(2026, 1, 20, 3, tzinfo=UTC)
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
SALT = "p2mCqtDPYuJvVrDRTEYOYw"
LABOUR_OFFICE = "disnaker-3171"
STAFF: dict[Role, dict[str, str]] = {
    Role.OFFICER: {"unit": "unit-00001"},
    Role.BANK: {"participant": "bri"},
    Role.IMMIGRATION: {},
    Role.LABOUR_OFFICE: {"participant": LABOUR_OFFICE},
    Role.OVERSIGHT: {},
    Role.MINISTER: {},
    Role.OPERATOR: {},
}
STAGES = (
    "received", "deficient", "assessing", "payment_due", "at_immigration", "visa_approved", "withdrawn", "rejected",
)  # fmt: skip


def number_of(stage: str) -> str:
    """The number of the application that stands there."""
    return f"B.3/{STAGES.index(stage) + 101:06}/PK.04.00/III/2026"


def code_of(stage: str) -> str:
    """The billing code of that application."""
    return f"8202603{STAGES.index(stage) + 101:08}"


@dataclass
class Hall:
    """The application, and the browsers of the people in it."""

    exchange: Exchange
    app: FastAPI
    paths: frozenset[str]
    browsers: dict[Role | None, httpx.AsyncClient] = field(default_factory=dict)

    def open_browser(self, **headers: str) -> httpx.AsyncClient:
        """Give a browser of somebody who has not signed in."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        standard = {"accept": "text/html", "accept-language": "en", "sec-fetch-site": "same-origin"}
        return httpx.AsyncClient(transport=transport, base_url=URL, headers=standard | headers)

    @staticmethod
    def form_token_of(answer: httpx.Response) -> str:
        """Give the token of a page's forms."""
        found = FORM_TOKEN.search(answer.text)
        assert found is not None
        return found[1]

    async def browser_of(self, role: Role | None) -> httpx.AsyncClient:
        """Give the browser of a role, signed in the first time; None is anybody."""
        if role not in self.browsers:
            browser = self.browsers[role] = self.open_browser()
            if role is Role.APPLICANT:
                form = {"application": number_of("payment_due"), "secret": SECRET}
                assert (await browser.post("/status", data=form)).status_code == 303
            elif role is not None:
                form = {"name": role.value, "password": PASSWORD}
                assert (await browser.post("/sign-in", data=form)).status_code == 303
        return self.browsers[role]


async def fill(exchange: Exchange) -> None:
    """Put an application at every stage."""
    ministry, bri, immigration = exchange.ministry, exchange.bri, exchange.immigration
    verifier = {"salt": SALT, "sha256": digest_secret(SALT, SECRET)}
    values: list[bytes] = []
    paid: list[bytes] = []
    for stage in STAGES:
        number, code = number_of(stage), code_of(stage)
        values.append(ministry.submitted(number, status_verifier=verifier))
        if stage == "received":
            continue
        if stage == "deficient":
            missing = [{"code": "DOC_UNREADABLE", "document": "CONTRACT"}]
            values.append(ministry.permit("deficiency_notified", number, missing=missing))
            continue
        values.append(ministry.permit("completed", number))
        if stage == "rejected":
            values.append(ministry.permit("rejected", number, decision="TLK.1/2026", reason_code="NOT_FEASIBLE"))
        if stage in ("payment_due", "at_immigration", "visa_approved", "withdrawn"):
            values.append(ministry.billed(number, code))
        if stage in ("at_immigration", "visa_approved", "withdrawn"):
            values.append(ministry.approved(number, person=PERSON))
            paid.append(bri.paid(code))
    await exchange.take(*ministry.sign_all(values))
    await exchange.take(*bri.sign_all(paid))
    # An application of long ago of which nobody said anything since.
    said = json.loads(ministry.submitted(SILENT))
    at, sequence = datetime(2026, 3, 2, 3, tzinfo=UTC), int(said["sequence"])
    silent = ministry.write(said["type"], said["data"], said["subject"], time=at, sequence=sequence)
    await exchange.take(ministry.sign(silent))
    revoked = ministry.permit("revoked", number_of("withdrawn"), decision="CBT.1/2026", reason_code="DATA_FALSE")
    await exchange.take(ministry.sign(revoked))
    # One worker came, and stayed when the permit had ended.
    dates = {"from": "2026-04-01", "until": "2026-10-01"}
    await exchange.take(ministry.sign(ministry.approved(OVERSTAYED, worker="worker-0002", **dates)))
    answer = {"application": OVERSTAYED, "number": "TKA-0123456789AB", "revision": 1, "port": "CGK"}
    crossing = {**answer, "at": "2026-04-02T02:00:00Z"}
    entered = immigration.write("id.tka.immigration.entry.recorded.v1", crossing, OVERSTAYED)
    await exchange.take(immigration.sign(entered))
    overseer, now = Overseer(exchange.desk), datetime.now(UTC)
    await keep_months(exchange, now)
    while await overseer.follow(now):
        pass
    while await overseer.look(now, LOOKED_AT_ONCE):
        pass


@cache
def count_months() -> tuple[list[Month], list[HandlingRow]]:
    """A small year's months as the hub would have counted them, the last one not over; and how files were handled."""
    dossiers = [Dossier(name, facts) for name, facts in read_facts(tell(5, 900)).items()]
    seen = [one for dossier in dossiers if (one := observe(dossier, RULES.book, YEAR_END)) is not None]
    handling = HandlingTally(MONTHS[-2])
    for dossier in dossiers:
        for handled in read_handling(dossier):
            handling.add(handled)
    months = []
    for place, month in enumerate(MONTHS, 1):
        rows = count_month(seen, month)
        final = month != MONTHS[-1]
        shown = rows if final else [row for row in rows if row.by in WHOLES]
        root = encode_root(place)
        months.append(Month(month, final, place * 40_000, root, "2012/2 2021/2", YEAR_END, shown))
    return months, handling.rows()


def encode_root(place: int) -> str:
    """A root as a checkpoint writes it."""
    return base64.b64encode(hashlib.sha256(bytes([place])).digest()).decode()


async def keep_months(exchange: Exchange, now: datetime) -> None:
    """Put the months there."""
    months, handling = count_months()
    async with exchange.database.connection() as connection:
        for month in months:
            await statistics.save(connection, month, handling)


@asynccontextmanager
async def open_hall(dsn: str, api_dsn: str, url: str = URL) -> AsyncIterator[Hall]:
    """Give the hall over an empty database; the pages log in as `api_dsn` says, which may do no more than they must."""
    exchange = await Exchange.open(dsn)
    granted = [
        {"type": f"id.tka.hub.register.{one}.v1", "filter": {"regency": ["3171"]}} for one in ("entered", "left")
    ]
    await exchange.register({"id": LABOUR_OFFICE, "kind": "labour_office", "subscribes": granted})
    await fill(exchange)
    async with exchange.database.connection() as connection:
        for role, scope in STAFF.items():
            account = make_account(role.value, role, scope.get("unit"), scope.get("participant"), PASSWORD)
            await accounts.add(connection, account, datetime.now(UTC))
    api = await Database.open(api_dsn, size=4)
    hall = Hall(exchange, *create_app(exchange, api, url))
    try:
        yield hall
    finally:
        for browser in hall.browsers.values():
            await browser.aclose()
        await api.close()
        await exchange.database.close()


def create_app(exchange: Exchange, database: Database, url: str) -> tuple[FastAPI, frozenset[str]]:
    """Put the API and the pages together as the hub does; give the pages' paths too."""
    in_force = RegistryInForce(exchange.root.public)
    pages = door.create_pages(database, url)
    counter = Counter(database)
    guard = Guard(database, in_force, url, None)
    register = Register(database, OVERSIGHT_KEY.public_key())
    routers = door.create_routers(database, in_force, register, counter, pages)
    app = probes.create_app(
        Health(),
        machines.create_router(database, in_force, guard),
        tokens.create_router(database, in_force, guard),
        log.create_router(database, in_force),
        facts.create_router(database, guard, counter),
        inquiries.create_router(database, guard, Office(database, in_force), register),
        *routers,
    )
    door.install(app, pages)
    paths = frozenset(route.path for router in routers for route in router.routes if isinstance(route, APIRoute))
    return app, paths
