"""OAuth client credentials: who gets a token, what it opens, and how each way around it ends."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from hub.store import clients
from hub.store.clients import Client
from hub.web.access import digest_token
from hub.web.tokens import ASSERTION_TYPE
from tests.hub.test_web import Door, door, release

__all__ = ["door"]
pytestmark = pytest.mark.anyio
TOKEN = "/api/v1/token"
STREAM = "/api/v1/streams/to.bri/0"


async def ask(door: Door, **form: str) -> httpx.Response:
    """Ask for a token."""
    return await door.client.post(TOKEN, data={"grant_type": "client_credentials"} | form)


async def ask_as_bank(door: Door, **others: str) -> httpx.Response:
    """Ask for a token as the bank."""
    assertion = door.assertion(door.world.bank_api)
    return await ask(door, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion, **others)


async def read(door: Door, token: str, path: str = STREAM) -> httpx.Response:
    """Ask with a token."""
    return await door.client.get(path, headers={"Authorization": f"Bearer {token}"})


async def add_client(door: Door, identity: str = "analysis", **others: Any) -> str:
    """Add a client of the bank and return its secret."""
    secret = secrets.token_urlsafe(32)
    named = {"role": "bank", "unit": None, "participant": "bri", "scopes": ["refusals:read"]} | others
    async with door.database.connection() as connection:
        client = Client(identity, secret_digest=digest_token(secret), **named)
        assert await clients.add(connection, client, datetime.now(UTC))
    return secret


def slug(answer: httpx.Response) -> tuple[int, str]:
    """Return how a request was refused."""
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


async def test_a_participants_token_opens_its_stream_until_it_expires(door: Door) -> None:
    await release(door, "to.bri", 1)
    answer = await ask_as_bank(door)
    given = answer.json()
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 300)
    assert given["scope"] == "refusals:read register:read sources:read streams:read"
    assert answer.headers["cache-control"] == "no-store"
    for _ in range(2):
        assert (await read(door, given["access_token"])).json()["last"] == 1
    async with door.database.connection() as connection:
        kept = await connection.fetch("SELECT * FROM access_tokens")
        assert given["access_token"] not in str(kept)
        await connection.execute("UPDATE access_tokens SET expires_at = $1", datetime.now(UTC))
        assert slug(await read(door, given["access_token"])) == (401, "token-invalid")
        await clients.forget_expired(connection, datetime.now(UTC) + timedelta(seconds=1))
        assert not await connection.fetchval("SELECT count(*) FROM access_tokens")


async def test_a_token_is_good_for_its_scopes_alone(door: Door) -> None:
    narrow = (await ask_as_bank(door, scope="sources:read")).json()
    assert narrow["scope"] == "sources:read"
    refused = await read(door, narrow["access_token"])
    assert slug(refused) == (403, "scope-not-granted")
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="streams:read"'
    for scope in ("recommendations:read", "findings:read", "everything", "streams:read\tsources:read"):
        answer = await ask_as_bank(door, scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_a_token_ends_with_the_key_that_got_it(door: Door) -> None:
    token = (await ask_as_bank(door)).json()["access_token"]
    assert (await read(door, token)).status_code == 200
    parties = door.world.participants()
    revoked = door.world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    parties[1]["keys"][1]["revoked_at"] = revoked
    await door.world.put_in_force(door.database, door.world.document(2, participants=parties))
    assert slug(await read(door, token)) == (401, "token-invalid")


async def test_a_client_shows_its_secret_in_either_way(door: Door) -> None:
    secret = await add_client(door)
    in_form = await ask(door, client_id="analysis", client_secret=secret)
    in_header = await door.client.post(TOKEN, data={"grant_type": "client_credentials"}, auth=("analysis", secret))
    assert [one.json()["scope"] for one in (in_form, in_header)] == ["refusals:read"] * 2
    token = in_form.json()["access_token"]
    assert slug(await read(door, token)) == (403, "scope-not-granted")
    async with door.database.connection() as connection:
        assert await clients.disable(connection, "analysis", datetime.now(UTC))
    assert slug(await read(door, token)) == (401, "token-invalid")
    assert (await ask(door, client_id="analysis", client_secret=secret)).json()["error"] == "invalid_client"


async def test_a_client_of_a_participant_that_is_none_gets_nothing(door: Door) -> None:
    secret = await add_client(door, participant="nobody")
    assert (await ask(door, client_id="analysis", client_secret=secret)).json()["error"] == "invalid_client"


async def test_an_assertion_gets_one_token(door: Door) -> None:
    assertion = door.assertion(door.world.bank_api)
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    assert (await ask(door, **form)).status_code == 200
    again = await ask(door, **form)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    # Nor is it good for a request of another kind any more.
    assert slug(await read(door, assertion)) == (401, "assertion-replayed")


WORTHLESS: tuple[tuple[str, dict[str, str]], ...] = (
    ("unsupported_grant_type", {"grant_type": "password"}),
    ("invalid_client", {}),
    ("invalid_client", {"client_id": "analysis", "client_secret": "wrong"}),
    ("invalid_client", {"client_id": "ANALYSIS' OR true --", "client_secret": "wrong"}),
    ("invalid_client", {"client_id": "nobody", "client_secret": ""}),
    ("invalid_client", {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "a.b.c"}),
    ("invalid_client", {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "é" * 600}),
    ("invalid_request", {"client_assertion_type": "other", "client_assertion": "a.b.c"}),
    ("invalid_request", {"client_secret": "x", "client_assertion": "a.b.c"}),
)


async def test_whoever_shows_nothing_good_gets_no_token(door: Door) -> None:
    await add_client(door)
    for error, form in WORTHLESS:
        answer = await ask(door, **form)
        assert answer.json()["error"] == error, form
        assert answer.status_code == (401 if error == "invalid_client" else 400)


async def test_an_assertion_of_another_client_or_audience_gets_no_token(door: Door) -> None:
    for others, client_id in (({}, "mandiri"), ({"aud": f"{TOKEN}"}, "bri"), ({"exp": 1}, "bri")):
        assertion = door.assertion(door.world.bank_api, **others)
        form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, "client_id": client_id}
        assert (await ask(door, **form)).json()["error"] == "invalid_client"


async def test_a_header_that_is_no_credential_gets_no_token(door: Door) -> None:
    for header in ("Basic", "Basic !!!", "Basic YWJj", "Bearer x", "Basic " + "A" * 2_000):
        answer = await door.client.post(
            TOKEN, data={"grant_type": "client_credentials"}, headers={"Authorization": header}
        )  # fmt: skip
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"] == "Basic"
    assert (await door.client.post(TOKEN, json={"grant_type": "client_credentials"})).status_code == 415


async def test_guessed_tokens_open_nothing(door: Door) -> None:
    for token in ("", "x", secrets.token_urlsafe(32), "a.b", "' OR true --", "é"):
        answer = await door.client.get(STREAM, headers={b"Authorization": f"Bearer {token}".encode()})
        assert answer.status_code == 401
