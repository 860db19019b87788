"""Who may open what, what a page never tells, and what keeps another site from acting for somebody."""

import re
from datetime import UTC, datetime

import pytest

from hub import accounts
from hub.accounts import FAILED_OF_ADDRESS_MAX, FAILED_OF_SUBJECT_MAX, Role
from hub.store import accounts as store
from tests.hub.exchange import PERSON
from tests.pages.hall import PASSWORD, SECRET, STAGES, URL, Hall, number_of

pytestmark = pytest.mark.anyio
ANYBODY = frozenset[Role | None]((None, *Role))
#: Every page, and who may open it; anybody else is refused, or sent to sign in.
MATRIX: dict[str, frozenset[Role | None]] = {
    "/": ANYBODY,
    "/status": ANYBODY,
    "/board": ANYBODY,
    "/sign-in": ANYBODY,
    "/statistics": ANYBODY,
    "/statistics.csv": ANYBODY,
    "/statistics.json": ANYBODY,
    "/status/file": frozenset({Role.APPLICANT}),
    "/bank": frozenset({Role.BANK}),
    "/recommendation": frozenset({Role.IMMIGRATION, Role.OVERSIGHT}),
    "/work": frozenset({Role.OFFICER}),
    "/register": frozenset({Role.IMMIGRATION, Role.LABOUR_OFFICE, Role.OFFICER}),
    "/minister": frozenset({Role.MINISTER}),
    "/operations": frozenset({Role.OPERATOR}),
    "/operations/repair": frozenset({Role.OPERATOR}),
    "/oversight": frozenset({Role.OVERSIGHT}),
    "/oversight/findings.csv": frozenset({Role.OVERSIGHT}),
    "/oversight/findings.jsonl": frozenset({Role.OVERSIGHT}),
}
CELLS = [(path, role) for path in MATRIX for role in (None, *Role)]
CANARIES = (PERSON["name"], *PERSON["name"].split(), PERSON["passport"], PERSON["birth_date"])
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


@pytest.mark.parametrize(("path", "role"), CELLS)
async def test_every_page_opens_for_its_roles_alone(hall: Hall, path: str, role: Role | None) -> None:
    browser = await hall.browser_of(role)
    answer = await browser.get(path)
    if role in MATRIX[path]:
        assert answer.status_code == 200
        assert not [canary for canary in CANARIES if canary in answer.text]
    else:
        assert answer.status_code in (303, 403)
        assert not answer.text or "Service time" not in answer.text


async def test_the_matrix_knows_every_page(hall: Hall) -> None:
    pages = {path for path in hall.paths if not path.startswith(("/api/", "/static/"))}
    assert pages - {"/sign-out", "/start"} == MATRIX.keys()


@pytest.mark.parametrize("language", ["id", "en"])
async def test_a_page_says_its_language_and_remembers_the_choice(hall: Hall, language: str) -> None:
    async with hall.open_browser(**{"accept-language": "fr"}) as browser:
        answer = await browser.get("/", params={"lang": language})
        assert f'<html lang="{language}">' in answer.text
        assert answer.headers["content-language"] == language
        assert f'<html lang="{language}">' in (await browser.get("/board")).text


async def test_security_headers_of_a_page(hall: Hall) -> None:
    answer = await (await hall.browser_of(None)).get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "script-src" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["strict-transport-security"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script|\son[a-z]+=|\sstyle=|javascript:", answer.text)


async def test_an_applicant_sees_the_own_file(hall: Hall) -> None:
    for stage in STAGES:
        async with hall.open_browser() as browser:
            await browser.post("/status", data={"application": number_of(stage).lower(), "secret": f" {SECRET} "})
            answer = await browser.get("/status/file")
            assert number_of(stage) in answer.text, stage
            assert not [canary for canary in CANARIES if canary in answer.text]
            others = [one for one in STAGES if one != stage and number_of(one) in answer.text]
            assert others == []
            assert answer.headers["refresh"] == "30"


async def test_what_is_owed_is_told_with_its_code(hall: Hall) -> None:
    answer = await (await hall.browser_of(Role.APPLICANT)).get("/status/file")
    assert "USD\u00a01,200.00" in answer.text
    assert "820260300000104" in answer.text


async def test_an_unknown_number_is_answered_like_a_wrong_secret(hall: Hall) -> None:
    answers = []
    for number in (number_of("received"), "B.3/999999/PK.04.00/III/2026"):
        async with hall.open_browser() as browser:
            answer = await browser.post("/status", data={"application": number, "secret": "x" * 24})
            answers.append((answer.status_code, answer.text.replace(number, "").replace("\n", "")))
            assert "set-cookie" not in answer.headers
    assert answers[0][0] == answers[1][0] == 403
    assert re.sub(r"Read at [^·<]*", "", answers[0][1]) == re.sub(r"Read at [^·<]*", "", answers[1][1])


async def test_a_cookie_of_a_session_cannot_be_read_or_sent_elsewhere(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        answer = await browser.post("/sign-in", data={"name": "operator", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"))
    assert "Domain" not in cookie


async def test_a_session_is_new_after_signing_in(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        browser.cookies.set("__Host-session", "a token that somebody else chose", domain="hub.example")
        await browser.post("/sign-in", data={"name": "operator", "password": PASSWORD})
        first = [one.value for one in browser.cookies.jar][-1]
        await browser.post("/sign-in", data={"name": "operator", "password": PASSWORD})
        second = [one.value for one in browser.cookies.jar][-1]
    assert len({"a token that somebody else chose", first, second}) == 3
    assert await accounts.recognise(hall.exchange.database, first or "", datetime.now(UTC)) is None


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}]
)
@pytest.mark.parametrize("path", ["/sign-in", "/status", "/sign-out"])
async def test_a_form_of_another_site_is_refused(hall: Hall, path: str, headers: dict[str, str]) -> None:
    async with hall.open_browser(**headers) as browser:
        if "origin" in headers:
            del browser.headers["sec-fetch-site"]
        form = {"name": "operator", "password": PASSWORD, "application": number_of("received"), "secret": SECRET}
        answer = await browser.post(path, data=form)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_signing_out_needs_the_sessions_own_token_and_ends_the_session(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        await browser.post("/sign-in", data={"name": "operator", "password": PASSWORD})
        for token in ("", "wrong"):
            assert (await browser.post("/sign-out", data={"form_token": token})).status_code == 403
        found = FORM_TOKEN.search((await browser.get("/")).text)
        assert found is not None
        cookie = dict(browser.cookies)
        assert (await browser.post("/sign-out", data={"form_token": found[1]})).status_code == 303
    async with hall.open_browser() as thief:
        thief.cookies.update(cookie)
        assert (await thief.get("/start")).headers["location"] == "/sign-in"


async def test_too_many_failures_lock_the_door_whatever_the_password(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        for _ in range(FAILED_OF_SUBJECT_MAX):
            answer = await browser.post("/sign-in", data={"name": "no-such-person", "password": "wrong"})
            assert answer.status_code == 401
        answer = await browser.post("/sign-in", data={"name": "no-such-person", "password": PASSWORD})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "900")
        row = await hall.exchange.row(
            "SELECT count(*) FILTER (WHERE outcome = 'limited') AS limited, count(account) AS named FROM attempts "
            "WHERE door = 'account' AND subject = sha256('account'::bytea || '\\000'::bytea || 'no-such-person')"
        )
        assert row == {"limited": 1, "named": 0}


async def test_one_address_cannot_try_number_after_number(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        codes = [
            (await browser.post("/status", data={"application": f"X/{number}", "secret": "guess"})).status_code
            for number in range(FAILED_OF_ADDRESS_MAX + 1)
        ]
    assert codes[-1] == 429
    async with hall.exchange.database.connection() as connection:
        await connection.execute("DELETE FROM attempts")


async def test_a_disabled_account_is_out_at_once(hall: Hall) -> None:
    async with hall.exchange.database.connection() as connection:
        account = accounts.make_account("leaving", Role.OPERATOR, None, None, PASSWORD)
        await store.add(connection, account, datetime.now(UTC))
        async with hall.open_browser() as browser:
            await browser.post("/sign-in", data={"name": "leaving", "password": PASSWORD})
            assert (await browser.get("/start")).headers["location"] != "/sign-in"
            await store.disable(connection, "leaving", datetime.now(UTC))
            assert (await browser.get("/start")).headers["location"] == "/sign-in"
            answer = await browser.post("/sign-in", data={"name": "leaving", "password": PASSWORD})
            assert answer.status_code == 401


async def test_no_password_token_or_secret_is_stored(hall: Hall) -> None:
    async with hall.exchange.database.connection() as connection:
        kept = str([await connection.fetch(f"SELECT * FROM {table}") for table in ("accounts", "sessions", "attempts")])
    assert PASSWORD not in kept
    assert SECRET not in kept
    assert "$argon2id$" in kept


async def test_a_program_gets_a_problem_document_where_a_person_gets_a_page(hall: Hall) -> None:
    async with hall.open_browser() as person, hall.open_browser(accept="application/json") as program:
        page, document = await person.get("/nowhere"), await program.get("/nowhere")
    assert (page.status_code, document.status_code) == (404, 404)
    assert "There is no such page" in page.text
    assert document.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"name=" + b"x" * 9_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a%d=1" % number for number in range(30)), "application/x-www-form-urlencoded", 400),
        (b"name=\xff", "application/x-www-form-urlencoded", 400),
        (b"name=%FF", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(hall: Hall, content: bytes, kind: str, status: int) -> None:
    async with hall.open_browser(**{"content-type": kind}) as browser:
        assert (await browser.post("/sign-in", content=content)).status_code == status


async def test_the_board_renews_itself_unless_it_is_held(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        board = await browser.get("/board")
        assert board.headers["refresh"] == "20"
        assert all(number_of(stage) in board.text for stage in STAGES)
        assert "refresh" not in (await browser.get("/board", params={"hold": "1"})).headers


async def test_the_style_is_named_by_its_content(hall: Hall) -> None:
    async with hall.open_browser() as browser:
        found = re.search(r'href="(/static/[0-9a-f]{16}\.css)"', (await browser.get("/")).text)
        assert found is not None
        style = await browser.get(found[1])
    assert style.headers["content-type"].startswith("text/css")
    assert "immutable" in style.headers["cache-control"]
    assert "@import" not in style.text
    assert "url(" not in style.text
    assert URL not in style.text
