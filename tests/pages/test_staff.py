"""What staff see: a bank its own, Immigration one recommendation with its proof, the operator what broke."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contracts.log import entry
from contracts.lookups import INFO
from hub.accounts import Person, Role
from hub.lookups import SUITE, Register, SealMissing, read_oversight_key
from hub.settings import SettingsInvalid
from hub.trust import RegistryInForce
from hub.web.pages import oversight
from hub.web.pages.register import Reader
from hub.web.problems import Problem
from tests.hub.exchange import PERSON
from tests.pages.hall import LABOUR_OFFICE, OVERSIGHT_KEY, OVERSTAYED, SILENT, Hall, count_months, number_of

pytestmark = pytest.mark.anyio
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
REASON = "Visa application 4711"


async def look_up(browser: httpx.AsyncClient, application: str, reason: str = REASON) -> httpx.Response:
    """Ask for a recommendation as its page does."""
    found = FORM_TOKEN.search((await browser.get("/recommendation")).text)
    assert found is not None
    form = {"form_token": found[1], "application": application, "reason": reason}
    return await browser.post("/recommendation", data=form)


async def read_lookups(hall: Hall) -> list[asyncpg.Record]:
    async with hall.exchange.database.connection() as connection:
        rows: list[asyncpg.Record] = await connection.fetch("SELECT * FROM lookups ORDER BY id")
    return rows


async def test_immigration_sees_what_stands_and_on_what_basis(hall: Hall) -> None:
    browser = await hall.browser_of(Role.IMMIGRATION)
    valid, withdrawn = [await look_up(browser, number_of(stage)) for stage in ("at_immigration", "withdrawn")]
    assert "Valid now" in valid.text
    assert "Approved by the ministry" in valid.text
    assert "The bank reported the payment" in valid.text
    assert "The permit was revoked." in withdrawn.text
    for answer in (valid, withdrawn):
        assert not [canary for canary in (PERSON["name"], PERSON["passport"]) if canary in answer.text]
    assert "There is no recommendation" in (await look_up(browser, number_of("received"))).text


async def test_a_look_up_is_written_down_before_anything_is_shown(hall: Hall) -> None:
    browser = await hall.browser_of(Role.IMMIGRATION)
    before = len(await read_lookups(hall))
    refused = await look_up(browser, number_of("at_immigration"), "because")
    assert (refused.status_code, "Valid now" in refused.text) == (400, False)
    assert len(await read_lookups(hall)) == before
    await look_up(browser, "B.3/999999/PK.04.00/III/2026")
    row = (await read_lookups(hall))[-1]
    assert (row["actor"], row["role"], row["page"]) == ("immigration", "immigration", "recommendation")
    assert (row["subject"], row["reason"]) == ("B.3/999999/PK.04.00/III/2026", REASON)


async def test_what_the_oversight_body_looks_up_only_it_can_read(hall: Hall) -> None:
    browser = await hall.browser_of(Role.OVERSIGHT)
    for application in (number_of("at_immigration"), "X"):
        await look_up(browser, application, "A report from the hall")
    one, other = (await read_lookups(hall))[-2:]
    assert {name for name, value in one.items() if value is not None} == {"id", "day", "sealed", "salt", "leaf"}
    assert len(one["sealed"]) == len(other["sealed"])
    said = json.loads(SUITE.decrypt(one["sealed"], OVERSIGHT_KEY, INFO))
    assert (said["actor"], said["subject"]) == ("oversight", number_of("at_immigration"))


async def test_without_its_key_the_oversight_body_is_shown_nothing(hall: Hall) -> None:
    register = Register(hall.exchange.database, None)
    with pytest.raises(SealMissing):
        await register.note(Person(Role.OVERSIGHT, "kpk"), "recommendation", "X", REASON, datetime.now(UTC))


async def test_a_look_up_is_never_changed(hall: Hall) -> None:
    await look_up(await hall.browser_of(Role.IMMIGRATION), number_of("at_immigration"))
    async with hall.exchange.database.connection() as connection:
        for statement in ("UPDATE lookups SET reason = 'another reason'", "DELETE FROM lookups"):
            with pytest.raises(asyncpg.RaiseError):
                await connection.execute(statement)


async def test_a_look_up_needs_the_sessions_own_form(hall: Hall) -> None:
    browser = await hall.browser_of(Role.IMMIGRATION)
    form = {"form_token": "", "application": number_of("at_immigration"), "reason": REASON}
    assert (await browser.post("/recommendation", data=form)).status_code == 403


@pytest.mark.parametrize("role", [role for role in (None, *Role) if role not in (Role.IMMIGRATION, Role.OVERSIGHT)])
async def test_nobody_else_looks_up_a_recommendation(hall: Hall, role: Role | None) -> None:
    browser = await hall.browser_of(role)
    answer = await browser.post("/recommendation", data={"application": number_of("at_immigration"), "reason": REASON})
    assert answer.status_code in (303, 403)
    assert "Valid now" not in answer.text


async def test_a_bank_sees_its_own_refusals_alone(hall: Hall) -> None:
    bri, mandiri = hall.exchange.bri, hall.exchange.mandiri
    await hall.exchange.take(bri.sign(bri.paid("820269900000001", amount="-1.00")))
    await hall.exchange.take(mandiri.sign(mandiri.paid("820269900000002", amount="1", currency="??")))
    own = await (await hall.browser_of(Role.BANK)).get("/bank")
    assert own.text.count("<article") == 1
    assert "from.bri/" in own.text
    assert "mandiri" not in own.text
    operator = await (await hall.browser_of(Role.OPERATOR)).get("/operations")
    assert "bri, mandiri" in operator.text
    assert "hub quarantine show" in operator.text
    assert operator.headers["refresh"] == "30"


async def test_the_oversight_body_sees_the_findings_and_takes_them_away(hall: Hall) -> None:
    browser = await hall.browser_of(Role.OVERSIGHT)
    before = len(await read_lookups(hall))
    page = await browser.get("/oversight")
    assert SILENT in page.text
    assert page.text.count('<h2 id="finding-') == 12
    export = await browser.get("/oversight/findings.csv")
    assert export.headers["content-type"].startswith("text/csv")
    assert "attachment" in export.headers["content-disposition"]
    rows = [row for row in csv.DictReader(io.StringIO(export.text)) if row["subject"] == SILENT]
    assert {(row["finding"], row["state"], row["cases"]) for row in rows} == {("silent_file", "open", SILENT)}
    assert [row["sealed"] is not None for row in (await read_lookups(hall))[before:]] == [True, True]


async def test_a_labour_office_sees_who_works_in_its_regency_and_nothing_of_crossings(hall: Hall) -> None:
    browser = await hall.browser_of(Role.LABOUR_OFFICE)
    before = len(await read_lookups(hall))
    page = await browser.get("/register")
    assert "Your regencies" in page.text
    assert "worker-0001" in page.text
    assert "Last crossing" not in page.text
    assert "worker-0002" not in page.text
    assert (await read_lookups(hall))[before]["subject"] == LABOUR_OFFICE
    assert "Nobody is registered here." in (await browser.get("/register", params={"expiring": "30"})).text
    assert (await browser.get("/register", params={"after": "!"})).status_code == 400


async def test_a_labour_office_without_a_grant_sees_nothing(hall: Hall) -> None:
    person = Person(Role.LABOUR_OFFICE, "somebody", participant="bri")
    reader = Reader(hall.exchange.database, RegistryInForce(hall.exchange.root.public))
    with pytest.raises(Problem, match="register-not-granted"):
        await reader.read(person, None, "")


@pytest.mark.parametrize("role", [Role.IMMIGRATION, Role.OFFICER])
async def test_an_overstay_is_shown_to_both_agencies(hall: Hall, role: Role) -> None:
    page = await (await hall.browser_of(role)).get("/register")
    assert "Still in the country" in page.text
    assert OVERSTAYED in page.text
    assert "worker-0002" in page.text


async def test_an_officer_sees_what_the_own_unit_handled(hall: Hall) -> None:
    reader = Reader(hall.exchange.database, RegistryInForce(hall.exchange.root.public))
    own, other = [
        await reader.read(Person(Role.OFFICER, "somebody", unit=unit), None, "")
        for unit in ("unit-00001", "unit-00002")
    ]
    assert own.entries
    assert (other.entries, other.differences, other.counted.entries) == ([], [], 0)


async def test_the_operator_sees_who_was_heard_of_last(hall: Hall) -> None:
    answer = await (await hall.browser_of(Role.OPERATOR)).get("/operations")
    for source in ("https://ministry.example/tka", "https://bri.example/tka", "https://immigration.example/tka"):
        assert source in answer.text
    assert "Never" in answer.text
    assert "entries stand in the evidence log" in answer.text


def test_a_key_that_seals_nothing_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "seal.pem"
    for content in (b"no key", Ed25519PrivateKey.generate().public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(SettingsInvalid):
            read_oversight_key(file)
    assert read_oversight_key(None) is None


async def test_the_oversight_body_sees_how_files_were_handled_and_what_operators_did(hall: Hall) -> None:
    leaf = entry.operator_action(
        action="quarantine_resend", subject="4711", actor="duty", reason="Key was registered late.",
        at=datetime.now(UTC),
    )  # fmt: skip
    async with hall.exchange.database.transaction() as tx:
        index = await tx.fetchval("UPDATE log SET next_index = next_index + 1 RETURNING next_index - 1")
        await tx.execute("INSERT INTO leaves VALUES ($1, $2)", index, leaf)
    page = (await (await hall.browser_of(Role.OVERSIGHT)).get("/oversight")).text
    assert "Key was registered late." in page
    for heading in ("Pauses by unit and reason", "How long Immigration took", "What operators did by hand"):
        assert heading in page
    pauses = sorted((row for row in count_months()[1] if row.what == "pause"), key=lambda row: -row.number)
    assert f'<th scope="row">{pauses[0].by}</th>' in page


async def test_every_finding_is_taken_away_as_lines_too_piece_by_piece(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oversight, "ROWS_PER_PIECE", 1)
    browser = await hall.browser_of(Role.OVERSIGHT)
    table = csv.DictReader(io.StringIO((await browser.get("/oversight/findings.csv")).text))
    lines = (await browser.get("/oversight/findings.jsonl")).text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [int(row["number"]) for row in table]
    assert SILENT in {json.loads(line)["subject"] for line in lines}
