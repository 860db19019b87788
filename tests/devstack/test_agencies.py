import base64
import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from xml.etree import ElementTree

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from devstack.agencies.door import Answer, Door
from devstack.agencies.immigration import VisaSystem
from devstack.agencies.numbers import icao_digit, luhn_digit, make_nib, make_npwp, make_passport
from devstack.agencies.part import Book
from devstack.agencies.scenario import write_day
from devstack.agencies.snap import PATH, Call, Sender, write_call
from devstack.agencies.statement import NAMESPACE, write_statement

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


def test_check_digits_agree_with_published_numbers() -> None:
    # The NPWP of DOMAIN's table and the passport of ICAO 9303's specimen.
    assert luhn_digit("01312166") == "0"
    assert icao_digit("L898902C3") == "6"
    assert icao_digit("AB2134<<<") == "5"


@pytest.mark.parametrize("seed", range(20))
def test_drawn_numbers_have_the_form_that_the_statutes_give(seed: int) -> None:
    random = Random(seed)
    short, long = make_npwp(random, long=False), make_npwp(random, long=True)
    assert len(short) == 15
    assert luhn_digit(short[:8]) == short[8]
    assert len(long) == 16
    assert long[0] == "0"
    assert luhn_digit(long[1:9]) == long[9]
    assert len(make_nib(random)) == 13
    passport = make_passport(random)
    assert icao_digit(passport[:9]) == passport[9]


@pytest.fixture(scope="module")
def bank_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class _Counter:
    """A SNAP endpoint that keeps what came, for one test."""

    def __init__(self) -> None:
        self.bodies: list[object] = []

    def take(self, query: dict[str, str], body: object) -> Answer:
        self.bodies.append(body)
        return 200, {"responseCode": "2002500"}


@pytest.fixture
def counter() -> Iterator[tuple[_Counter, str]]:
    counter = _Counter()
    door = Door(0, {("POST", PATH): counter.take})
    door.open()
    yield counter, f"http://127.0.0.1:{door.port}"
    door.close()


def test_notification_reaches_the_endpoint_as_written(
    bank_key: rsa.RSAPrivateKey, counter: tuple[_Counter, str]
) -> None:
    endpoint, url = counter
    call = _call()
    status, answer = Sender(url, "PARTNER", bank_key).post(call, START)
    assert (status, answer) == (200, {"responseCode": "2002500"})
    assert endpoint.bodies == [json.loads(call.body)]
    body = json.loads(call.body)
    assert body["virtualAccountNo"] == body["partnerServiceId"] + body["customerNo"]
    assert body["trxDateTime"] == "2026-05-04T15:00:00+07:00"
    assert call.external_id.isdigit()
    assert len(call.external_id) <= 36


def test_signature_is_over_the_minified_body(bank_key: rsa.RSAPrivateKey) -> None:
    sender = Sender("http://127.0.0.1:1", "PARTNER", bank_key)
    text = "POST:/v1.0/transfer-va/payment:{}:2026-05-04T15:00:00+07:00"
    minified = b'{"a":"b c","d":1}'
    digest = hashes.Hash(hashes.SHA256())
    digest.update(minified)
    signature = base64.b64decode(sender.sign(b'{\n "a": "b c",\n "d": 1\n}', "2026-05-04T15:00:00+07:00"))
    expected = text.format(digest.finalize().hex()).encode()
    bank_key.public_key().verify(signature, expected, padding.PKCS1v15(), hashes.SHA256())


def _call() -> Call:
    return write_call(
        billing_code="826050400010001",
        amount="1200.00",
        currency="USD",
        paid_at=START,
        request_id="r-1",
        reference="REF1",
        ntpn="ABCDEFGH12345678",
    )


def test_closed_door_refuses_the_connection_and_opens_again() -> None:
    door = Door(0, {("GET", "/book"): lambda query, body: (200, {"open": True})})
    door.open()
    url = f"http://127.0.0.1:{door.port}/book"
    assert httpx.get(url).json() == {"open": True}
    port = door.port
    door.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    again = Door(port, {("GET", "/book"): lambda query, body: (200, {"open": "again"})})
    again.open()
    assert httpx.get(url).json() == {"open": "again"}
    again.close()


def test_statement_names_bill_direction_and_booking() -> None:
    day = write_day(5, 25, START)
    reports = [report for report in day.reports if report.channel in ("statement", "reversal")]
    root = ElementTree.fromstring(write_statement(reports, "STATEMENT-1", "0001", START))
    spaces = {"c": NAMESPACE}
    entries = root.findall(".//c:Ntry", spaces)
    assert len(entries) == len(reports)
    for entry, report in zip(entries, reports, strict=True):
        assert entry.findtext("c:Sts/c:Cd", namespaces=spaces) == "BOOK"
        assert entry.findtext("c:Amt", namespaces=spaces) == f"{report.amount:.2f}"
        assert (entry.findtext("c:RvslInd", namespaces=spaces) == "true") == (report.channel == "reversal")
        named = entry.findtext(".//c:CdtrRefInf/c:Ref", namespaces=spaces)
        assert named == report.billing_code


def test_visa_system_takes_a_recommendation_once_and_refuses_other_content() -> None:
    day, book = write_day(5, 25, START), Book()
    system = VisaSystem(day, book)
    number = next(iter(day.applications))
    body = {"application": number, "number": "TKA-0123456789AB", "revision": 1}
    assert system.take("TKA-0123456789AB", "1", "issued", {}, body)[0] == 201
    before = system.list_answers({}, None)
    assert system.take("TKA-0123456789AB", "1", "issued", {}, body)[0] == 200
    assert system.take("TKA-0123456789AB", "1", "issued", {}, {**body, "kanim": "OTHER"})[0] == 409
    assert system.list_answers({}, None) == before
    kinds = [answer["kind"] for answer in before[1]["answers"]]
    assert kinds[0] == "acknowledged"
    assert [answer["id"] for answer in before[1]["answers"]] == list(range(1, len(kinds) + 1))
    assert system.list_answers({"after": str(len(kinds))}, None)[1] == {"answers": []}


def test_visa_system_decides_once_its_question_is_answered() -> None:
    day, book = write_day(5, 25, START), Book()
    system = VisaSystem(day, book)
    number = next(made.number for made in day.applications.values() if made.variant == "queried")
    system.take("TKA-0123456789AB", "1", "issued", {}, {"application": number})
    asked = [answer for answer in system.list_answers({}, None)[1]["answers"] if answer["kind"] == "queried"]
    assert len(asked) == 1
    query_id = asked[0]["query_id"]
    assert system.take_query_answer(query_id, {}, {"answer": "yes"})[0] == 201
    assert system.take_query_answer(query_id, {}, {"answer": "yes"})[0] == 200
    assert [answer["kind"] for answer in system.list_answers({}, None)[1]["answers"]][-1] == "visa_approved"


def test_unknown_path_is_not_found() -> None:
    door = Door(0, {})
    door.open()
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    connection.request("GET", "/nothing")
    assert connection.getresponse().status == 404
    connection.close()
    door.close()
