"""Personal data is told to those who must know it and shows up nowhere else.

Made-up persons go through everything, good ways and bad; then all that a bystander may read is searched for them.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.fields import passport_check_digit
from devstack.agencies.scenario import Row
from devstack.agencies.snap import Call
from devstack.agencies.statement import write_statement
from devstack.demonstration.forgery import Author, tamper
from devstack.demonstration.troubles import FORGED_SEQUENCE
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.run import Run
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.rig import EVERYTHING

NAME = "Kanaria Zwitscherlich"
NAMES = ("Kanaria", "Zwitscherlich", "KANARIA", "ZWITSCHERLICH")
NUMBER = "KQ7788991"
PASSPORT = NUMBER + passport_check_digit(NUMBER)
CANARIES = (*NAMES, NUMBER)
PERSON = {"nama": NAME, "paspor": PASSPORT}
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def own(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    """Give an exchange through which the canaries have gone."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path_factory.mktemp("canaries")) as exchange:
        exchange.begin()
        send_through(exchange)
        send_broken(exchange)
        send_refused(exchange)
        yield exchange


def _with_person(row: Row, **others: str) -> Row:
    """Return the row with a canary in the place of its person."""
    if "tka" not in row.payload:
        return row
    return replace(row, payload=row.payload | {"tka": row.payload["tka"] | PERSON | others})


def send_through(exchange: Exchange) -> None:
    """Let a canary's permit become a recommendation."""
    [application] = exchange.natives.deal(1)
    exchange.natives.books.applications[application.number] = application
    rows = [_with_person(row) for row in exchange.natives.rows_of([application])]
    exchange.natives.write_rows(rows)
    [report] = [one for one in exchange.natives.day.reports if _pays(one, application) and one.channel[0] == "n"]
    exchange.natives.notify(report)
    exchange.settle()
    delivered = json.dumps(exchange.natives.visa_book.show())
    assert NAME in delivered
    assert PASSPORT in delivered


def _pays(report: Any, application: Any) -> bool:
    return bool(report.billing_code == application.bill.code)


def send_broken(exchange: Exchange) -> None:
    """Write rows that cannot become a message, each with a canary in it, and a statement that is no statement."""
    [application] = exchange.natives.deal(1)
    [approval] = [row for row in exchange.natives.rows_of([application]) if row.kind == "DISETUJUI"]
    sound = _with_person(approval)
    exchange.natives.write_rows(
        [
            replace(sound, payload={key: value for key, value in sound.payload.items() if key != "mulai"}),
            _with_person(approval, paspor=f"{PASSPORT}??"),
            _with_person(approval, tanggal_lahir=NAME),
            replace(sound, kind=NAME.upper()),
        ]
    )
    reasons = exchange.rig.cast.folder / "statements" / "bri" / "refused"
    whole = write_statement([], NAME, NAME, datetime.now(UTC))
    part = reasons.parent / "kanari.xml.part"
    part.write_bytes(whole.replace(b"</", b"<", 1))
    part.rename(reasons.parent / "kanari.xml")
    wait_until("the statement is refused", lambda: any(reasons.glob("*.reason.txt")), LIMIT_S)
    wait_until("the rows are set aside", lambda: _count_aside(exchange) >= 4, LIMIT_S)


def _count_aside(exchange: Exchange) -> int:
    status = httpx.get(exchange.rig.url("connector-ministry") + "/readyz", timeout=5).json()
    return int(status["spool"]["set_aside"])


def send_refused(exchange: Exchange) -> None:
    """Send messages that the hub refuses, with a canary where its form is wrong."""
    cast = exchange.rig.cast
    author = Author("ministry", cast.source("ministry"), "demo", cast.message_keys["ministry"])
    person = {"name": NAME, "passport": PASSPORT, "birth_date": NAME, "nationality": PASSPORT}
    event = author.write_event("id.tka.ministry.permit.approved.v1", "RPTKA/1", FORGED_SEQUENCE, {"person": person})
    sent = [
        author.seal(event),
        author.seal(event | {PASSPORT: NAME}),
        author.seal(event | {"data": {NAME: PASSPORT}}),
        tamper(author.seal(event), b"Kanaria", b"Kanarix"),
    ]
    for record in sent:
        exchange.natives.send(record)
    places = "SELECT count(*) FROM quarantine"
    wait_until("they are refused", lambda: exchange.observer.fetch(places)[0][0] >= len(sent), LIMIT_S)


def _assert_clean(what: str, text: str) -> None:
    found = [canary for canary in CANARIES if canary in text]
    lines = [line for line in text.splitlines() if any(canary in line for canary in found)]
    assert not found, f"{what}: {lines[:3]}"


def test_logs_name_nobody(own: Exchange, stack_run: Run) -> None:
    logs = own.rig.read_logs()
    assert set(logs) >= {f"{name}.log" for name in EVERYTHING}
    logs |= {file.name: file.read_text(errors="replace") for file in stack_run.children.log_dir.iterdir()}
    for name, text in logs.items():
        _assert_clean(name, text)


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz"])
def test_figures_name_nobody(path: str, own: Exchange) -> None:
    for name in EVERYTHING:
        _assert_clean(name + path, httpx.get(own.rig.url(name) + path, timeout=5).text)


def test_addresses_name_nobody(own: Exchange) -> None:
    assert own.natives.visa_calls
    for call in own.natives.visa_calls:
        _assert_clean("the visa system's addresses", call)


def test_error_bodies_name_nobody(own: Exchange) -> None:
    body = json.dumps({"partnerServiceId": NAME, "customerNo": PASSPORT, "virtualAccountNo": NAME}).encode()
    sender = own.natives._senders["bri"]
    status, answer = sender.post(Call(body, "77"), datetime.now(UTC))
    assert status >= 400
    _assert_clean("SNAP's answer", json.dumps(answer))
    stream = httpx.get(
        own.rig.url("hub-api") + "/api/v1/streams/to.bri/0", headers={"Authorization": f"Bearer {NAME}"}, timeout=5
    )
    assert stream.status_code == 401
    _assert_clean("the API's answer", stream.text)
    for file in Path(own.rig.cast.folder / "statements").rglob("*.reason.txt"):
        _assert_clean(file.name, file.read_text())


def test_lists_of_refusals_name_nobody(own: Exchange) -> None:
    _assert_clean("hub quarantine list", own.rig.must_run_hub("quarantine", "list", "--json"))
    _assert_clean("hub fsck", own.rig.must_run_hub("fsck", "--json"))
