"""The simulated agencies' protocols, judged by the standards' own words, with real HTTP doors at the other end."""

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectors.bank.camt054 import read_transactions
from devstack.agencies.calling import Caller
from devstack.agencies.door import Answer, Door, Incoming, Raw
from devstack.agencies.office import Office
from devstack.agencies.part import Book
from devstack.agencies.scenario import APPLICATIONS_FOR_ALL, Attempt, Report, Row, write_day
from devstack.agencies.snap import INQUIRY_PATH, PATH, TOKEN_PATH, Call, Sender, write_call, write_inquiry
from devstack.agencies.statement import VERSIONS, Page, name_space, write_statement
from devstack.agencies.status import STATUS_PATH, StatusServer

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
CODE = "826050400010001"
SECRET = b"a secret of more than sixteen characters"
REPORT = Report("bri", "noon", "notification", START, CODE, Decimal(1200), "USD", "REF1", None, "r-1")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Peer:
    """The other end of a bank's calls: it keeps them, and answers what it was given to answer, in turn."""

    def __init__(self) -> None:
        self.calls: list[Incoming] = []
        self.answers: list[Answer] = []
        self.inquiries: list[Answer] = []
        self.tokens = 0

    def take(self, call: Incoming) -> Answer:
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else (200, {"responseCode": "2002500"})

    def inquire(self, call: Incoming) -> Answer:
        return self.inquiries.pop(0) if self.inquiries else (200, {"responseCode": "2002400"})

    def grant(self, call: Incoming) -> Answer:
        self.tokens += 1
        return 200, {"responseCode": "2007300", "accessToken": f"token-{self.tokens}", "expiresIn": "900"}

    def ids(self) -> list[str]:
        return [call.header("X-EXTERNAL-ID") for call in self.calls]


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def url(peer: Peer) -> Iterator[str]:
    door = Door(
        0,
        {
            ("POST", PATH): Raw(peer.take),
            ("POST", INQUIRY_PATH): Raw(peer.inquire),
            ("POST", TOKEN_PATH): Raw(peer.grant),
        },
    )
    door.open()
    yield f"http://127.0.0.1:{door.port}"
    door.close()


def _call() -> Call:
    return write_call(
        billing_code=CODE,
        amount="1200.00",
        currency="USD",
        paid_at=START,
        request_id="r-1",
        reference="REF1",
        ntpn=None,
    )


# --- SNAP ------------------------------------------------------------------------------------------------------------


def test_symmetric_call_is_signed_under_a_token_and_the_token_is_renewed_when_it_is_turned_away(
    key: rsa.RSAPrivateKey, peer: Peer, url: str
) -> None:
    sender = Sender(url, "MANDIRI-TKA", key, SECRET)
    sender.forget_token()
    peer.answers = [(401, {"responseCode": "4012501"})]
    assert sender.post(_call(), START) == (200, {"responseCode": "2002500"})
    assert (sender.renewals, peer.tokens) == (1, 1)
    call = peer.calls[-1]
    assert call.header("Authorization") == "Bearer token-1"
    hashed = hashlib.sha256(json.dumps(json.loads(call.body), separators=(",", ":")).encode()).hexdigest()
    text = f"POST:{PATH}:token-1:{hashed}:{call.header('X-TIMESTAMP')}"
    assert base64.b64decode(call.header("X-SIGNATURE")) == hmac.digest(SECRET, text.encode(), hashlib.sha512)
    sender.post(_call(), START)
    assert peer.tokens == 1


def test_a_token_that_is_turned_away_for_ever_is_not_asked_for_without_end(
    key: rsa.RSAPrivateKey, peer: Peer, url: str
) -> None:
    peer.answers = [(401, {"responseCode": "4012501"})] * 2
    assert Sender(url, "MANDIRI-TKA", key, SECRET).post(_call(), START)[1] == {"responseCode": "4012501"}
    assert peer.tokens == 2


def test_the_bank_s_clock_is_wrong_by_its_skew(key: rsa.RSAPrivateKey, peer: Peer, url: str) -> None:
    Sender(url, "BRI-TKA", key, skew=timedelta(seconds=-420)).post(_call(), START)
    assert peer.calls[0].header("X-TIMESTAMP") == "2026-05-04T14:53:00+07:00"


def _caller(url: str, key: rsa.RSAPrivateKey, *, holds: bool = False) -> tuple[Caller, Book]:
    book = Book()
    return Caller(book, Sender(url, "BRI-TKA", key), holds=holds, pause_s=0.0), book


def test_a_server_s_fault_is_called_again_in_every_way_that_a_bank_has(
    key: rsa.RSAPrivateKey, peer: Peer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.agencies.calling.RETRY_PAUSE_S", 0.0)
    caller, book = _caller(url, key)
    peer.answers = [(500, {}), (503, {}), (504, {}), (404, {"responseCode": "4042518"})]
    assert caller.notify(REPORT)
    first, renumbered, advised, again = peer.ids()
    assert first == advised == again
    assert renumbered != first
    assert [json.loads(call.body)["flagAdvise"] for call in peer.calls] == ["N", "N", "Y", "N"]
    assert book.find("told", "r-1") is not None


def test_a_bank_that_holds_the_money_asks_until_there_is_a_bill(key: rsa.RSAPrivateKey, peer: Peer, url: str) -> None:
    caller, book = _caller(url, key, holds=True)
    peer.inquiries = [(404, {"responseCode": "4042412"}), (404, {"responseCode": "4042414"})]
    caller.tell_all([REPORT])
    assert len(peer.calls) == 1
    assert (book.find("inquiries", "r-1") or {})["code"] == "2002400"


def test_a_bank_that_has_taken_the_money_tells_it_whatever_the_inquiry_says(
    key: rsa.RSAPrivateKey, peer: Peer, url: str
) -> None:
    caller, book = _caller(url, key)
    peer.inquiries = [(404, {"responseCode": "4042412"})]
    caller.tell_all([REPORT])
    assert (book.find("inquiries", "r-1") or {})["code"] == "4042412"
    assert book.find("told", "r-1") is not None


def test_a_refused_attempt_is_noted_with_what_it_should_have_been(key: rsa.RSAPrivateKey, peer: Peer, url: str) -> None:
    caller, book = _caller(url, key, holds=True)
    peer.answers = [(404, {"responseCode": "4042513"})]
    caller.attempt(Attempt("a", CODE, Decimal(600), "USD", "REF", START, "2002400", "4042513"))
    noted = book.show()["pages"]["calls"]
    assert [(entry["wanted"], entry["code"]) for entry in noted.values()] == [("2002400",) * 2, ("4042513",) * 2]


def test_an_attempt_whose_answer_got_lost_is_made_under_a_new_number(
    key: rsa.RSAPrivateKey, peer: Peer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.agencies.calling.RETRY_PAUSE_S", 0.0)
    caller, _ = _caller(url, key, holds=True)
    peer.answers = [(500, {}), (404, {"responseCode": "4042513"})]
    caller.attempt(Attempt("a", CODE, Decimal(600), "USD", "REF", START, "2002400", "4042513"))
    assert len(set(peer.ids())) == 2
    assert len({call.body for call in peer.calls}) == 1


def test_repeats_and_contradictions_differ_in_exactly_what_they_are_named_for(
    key: rsa.RSAPrivateKey, peer: Peer, url: str
) -> None:
    caller, _ = _caller(url, key)
    caller.notify(REPORT)
    caller.repeat(REPORT)
    first, same, renumbered, advised, other, changed = (
        (call.header("X-EXTERNAL-ID"), json.loads(call.body)) for call in peer.calls
    )
    assert same == first
    assert (renumbered[1], renumbered[0] == first[0]) == (first[1], False)
    assert advised == (first[0], first[1] | {"flagAdvise": "Y"})
    assert other == (first[0], first[1] | {"paymentRequestId": "r-1-2"})
    assert changed[1] == first[1] | {"paidAmount": {"value": "91200.00", "currency": "USD"}}
    assert changed[0] != first[0]


def test_every_question_has_its_own_number() -> None:
    one, other = write_inquiry(CODE, "1"), write_inquiry(CODE, "2")
    assert one.external_id != other.external_id
    assert one.path == INQUIRY_PATH


# --- the bank's own status service -----------------------------------------------------------------------------------


def _sign(key: rsa.RSAPrivateKey, text: str) -> str:
    return base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def _ask(server: StatusServer, sign: Callable[[str], dict[str, str]], identity: str = "r-1") -> Answer:
    body = json.dumps({"paymentRequestId": identity}).encode()
    hashed = hashlib.sha256(body).hexdigest()
    given = {"X-PARTNER-ID": "TKA-HUB", "X-TIMESTAMP": "2026-05-04T15:00:00+07:00", **sign(hashed)}
    return server.tell(Incoming({name.lower(): value for name, value in given.items()}, body))


def test_status_is_told_to_the_connector_s_key_alone(key: rsa.RSAPrivateKey) -> None:
    book = Book()
    book.note("told", "r-1")
    book.note("calls", "refused: payment", wanted="4042513", code="4042513")
    server = StatusServer(book, "TKA-HUB", key.public_key(), None)

    def sign(hashed: str) -> dict[str, str]:
        return {"X-SIGNATURE": _sign(key, f"POST:{STATUS_PATH}:{hashed}:2026-05-04T15:00:00+07:00")}

    def flag(identity: str) -> str:
        return str(_ask(server, sign, identity)[1]["virtualAccountData"]["paymentFlagStatus"])

    assert [flag(identity) for identity in ("r-1", "refused", "unheard of")] == ["00", "01", "02"]
    assert _ask(server, lambda hashed: {"X-SIGNATURE": _sign(key, "something else")})[0] == 401
    assert _ask(server, lambda hashed: sign(hashed) | {"X-PARTNER-ID": "SOMEBODY"})[0] == 401
    assert _ask(server, lambda hashed: {})[0] == 401


def test_status_under_a_token_wants_a_token_that_this_bank_gave(key: rsa.RSAPrivateKey) -> None:
    server = StatusServer(Book(), "TKA-HUB", key.public_key(), SECRET)
    stamp = "2026-05-04T15:00:00+07:00"
    asked = {"x-client-key": "TKA-HUB", "x-timestamp": stamp, "x-signature": _sign(key, f"TKA-HUB|{stamp}")}
    status, granted = server.grant(Incoming(asked, b"{}"))
    assert status == 200
    assert server.grant(Incoming(asked | {"x-client-key": "SOMEBODY"}, b"{}"))[0] == 401

    def sign(token: str) -> Callable[[str], dict[str, str]]:
        def signed(hashed: str) -> dict[str, str]:
            mac = hmac.digest(SECRET, f"POST:{STATUS_PATH}:{token}:{hashed}:{stamp}".encode(), "sha512")
            return {"Authorization": f"Bearer {token}", "X-SIGNATURE": base64.b64encode(mac).decode()}

        return signed

    assert _ask(server, sign(granted["accessToken"]))[0] == 200
    assert _ask(server, sign("a token of its own"))[0] == 401


# --- statements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_statement_of_each_version_says_the_same_at_that_version_s_places(version: str) -> None:
    day = write_day(5, APPLICATIONS_FOR_ALL, START)
    reports = [report for report in day.reports if report.channel != "notification"]
    written = write_statement(reports, "STATEMENT-1", "0001", START, version=version)
    spaces = {"c": name_space(version)}
    entries = ElementTree.fromstring(written).findall(".//c:Ntry", spaces)
    assert all((entry.findtext("c:Sts/c:Cd", namespaces=spaces) == "BOOK") == (version == "08") for entry in entries)
    within = [entry.find(".//c:AmtDtls/c:TxAmt/c:Amt", spaces) is not None for entry in entries]
    assert within == [version == "02" and place % 2 == 0 for place in range(len(entries))]
    read = list(read_transactions(io.BytesIO(written)))
    assert [(each.counts, each.money, each.currency, each.billing_code, each.ntpn) for each in read] == [
        (
            "reversal" if one.channel == "reversal" else "credit",
            f"{one.amount:.2f}",
            one.currency,
            one.billing_code,
            one.ntpn,
        )
        for one in reports
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_pages_and_copies_say_so(version: str) -> None:
    booked = Report("bri", "noon", "statement", START, CODE, Decimal(1200), "USD", "REF1", None, "r-2")
    page = write_statement([booked], "S", "0001", START, version=version, page=Page(2, last=True))
    copy = write_statement([booked], "S-COPY", "0001", START, version=version, copy=True)
    [on_page], [copied] = (list(read_transactions(io.BytesIO(content))) for content in (page, copy))
    assert (on_page.notification.page, on_page.notification.copy) == (2, False)
    assert (copied.notification.page, copied.notification.copy) == (1, True)
    assert on_page.content_sha256() == copied.content_sha256()


# --- the office's door -----------------------------------------------------------------------------------------------


class Desk:
    """An events door as RFC 9457 and the idempotency draft have it, kept in memory for one test."""

    def __init__(self) -> None:
        self.failures = 0
        self.known: dict[str, bytes] = {}

    def take(self, call: Incoming) -> Answer:
        if self.failures:
            self.failures -= 1
            return 503, {"title": "Service Unavailable"}
        if call.header("Authorization") != "Bearer the-token":
            return 401, {"title": "Unauthorized"}
        key = call.header("Idempotency-Key")
        if key in self.known:
            return (200 if self.known[key] == call.body else 422), {}
        self.known[key] = call.body
        return 202, {}


@pytest.fixture
def desk() -> Iterator[tuple[Desk, str]]:
    desk = Desk()
    door = Door(0, {("POST", "/events"): Raw(desk.take)})
    door.open()
    yield desk, f"http://127.0.0.1:{door.port}"
    door.close()


def test_office_hands_in_until_it_is_stored_and_again_under_the_same_key(
    desk: tuple[Desk, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.agencies.office.RETRY_PAUSE_S", 0.0)
    peer, url = desk
    peer.failures = 2
    rows = [Row(f"RPTKA/2026/{n}#LENGKAP", "morning", START, "LENGKAP", f"RPTKA/2026/{n}", {}) for n in range(8)]
    book = Book()
    Office(url, "the-token", book, 0.0).hand_in_all(rows)
    pages = book.show()["pages"]
    assert len(pages["written"]) == len(peer.known) == 8
    assert all(set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./:-") for key in peer.known)
    assert [entry["status"] for entry in pages["handed in again"].values()] == [200, 200]
    assert [entry["status"] for entry in pages["key used again"].values()] == [422, 422]


def test_office_notes_what_is_turned_away(desk: tuple[Desk, str]) -> None:
    book = Book()
    row = Row("RPTKA/2026/1#LENGKAP", "morning", START, "LENGKAP", "RPTKA/2026/1", {})
    Office(desk[1], "another-token", book, 0.0).hand_in_all([row])
    assert book.show()["pages"].keys() == {"turned away"}


def test_office_exists_only_where_it_has_an_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EVENTS_URL", raising=False)
    assert Office.read(Book(), 60.0) is None
    (tmp_path / "token").write_text("the-token\n")
    monkeypatch.setenv("EVENTS_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("EVENTS_TOKEN_FILE", str(tmp_path / "token"))
    assert Office.read(Book(), 60.0) is not None


def test_raw_handler_is_given_headers_and_bytes() -> None:
    door = Door(0, {("POST", "/raw"): Raw(lambda call: (200, [call.header("X-One"), call.body.decode()]))})
    door.open()
    answer = httpx.post(f"http://127.0.0.1:{door.port}/raw", headers={"x-one": "1"}, content=b"not json")
    assert answer.json() == ["1", "not json"]
    door.close()
