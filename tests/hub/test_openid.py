"""Signing in at an OpenID provider: each thing that its answer and its ID token must hold, and what is refused without.

The whole way, with a provider that others wrote, is in tests/interop/test_openid.py.
"""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from hub import accounts
from hub.accounts import AccountInvalid, AttemptRefused, Role, make_openid_account
from hub.openid import Errand, OpenIdRefused, Provider, ProviderUnreachable, check_address, find_provider, read_subject
from hub.settings import Settings, SettingsInvalid
from hub.store import accounts as store
from hub.store import schema
from hub.store.database import Database

ISSUER, CLIENT, NONCE = "https://sso.example", "tka-hub", "n-0S6_WzA2Mj"
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
KEYS = KeySet([KEY])
PROVIDER = Provider(ISSUER, CLIENT, "secret", "https://hub.example/sign-in/openid/answer")
CLAIMS: dict[str, Any] = {
    "iss": ISSUER, "aud": CLIENT, "sub": "248289761001", "nonce": NONCE,
    "iat": int(NOW.timestamp()) - 5, "exp": int(NOW.timestamp()) + 300,
}  # fmt: skip


def token(key: Any = KEY, alg: str = "RS256", **changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "k1"}, claims, key, algorithms=[alg])


def unsigned() -> str:
    parts = ({"alg": "none"}, CLAIMS)
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."


def reason(given: str) -> str:
    with pytest.raises(OpenIdRefused) as refused:
        read_subject(given, KEYS, PROVIDER, NONCE, NOW)
    return refused.value.reason


def test_a_sound_token_names_its_subject() -> None:
    assert read_subject(token(), KEYS, PROVIDER, NONCE, NOW) == "248289761001"
    assert read_subject(token(aud=[CLIENT], azp=CLIENT), KEYS, PROVIDER, NONCE, NOW) == "248289761001"
    curve = ECKey.generate_key("P-256", {"kid": "k1"})
    assert read_subject(token(curve, "ES256"), KeySet([curve]), PROVIDER, NONCE, NOW) == "248289761001"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "issuer-foreign"),
        ({"iss": None}, "issuer-foreign"),
        ({"aud": "another"}, "audience-foreign"),
        ({"aud": [CLIENT, "another"]}, "audience-foreign"),
        ({"aud": None}, "audience-foreign"),
        ({"azp": "another"}, "audience-foreign"),
        ({"exp": int(NOW.timestamp()) - 60}, "expired"),
        ({"iat": int(NOW.timestamp()) + 120}, "expired"),
        ({"exp": None}, "times-missing"),
        ({"iat": None}, "times-missing"),
        ({"nonce": "another"}, "nonce-foreign"),
        ({"nonce": None}, "nonce-foreign"),
        ({"sub": None}, "subject-missing"),
        ({"sub": ""}, "subject-missing"),
        ({"sub": "x" * 256}, "subject-missing"),
    ],
)
def test_each_claim_that_is_not_as_it_must_be_is_refused(changes: dict[str, Any], why: str) -> None:
    assert reason(token(**changes)) == why


def test_a_token_that_its_provider_did_not_sign_is_refused() -> None:
    shared = OctKey.import_key("a secret that two share, long enough for it", {"kid": "k1"})
    changed = token()[:-6] + "AAAAAA"
    for forged in (token(OTHER), unsigned(), token(shared, "HS256"), changed, "x.y.z", ""):
        assert reason(forged) == "signature-invalid"


async def test_an_answer_to_somebody_elses_errand_is_refused() -> None:
    errand = Errand.new()
    for answer in ({}, {"state": "another", "code": "c"}, {"state": Errand.new().state, "code": "c"}):
        with pytest.raises(OpenIdRefused, match="state-foreign"):
            await PROVIDER.finish(errand, answer, NOW)


@pytest.mark.parametrize("kept", [None, "", "a.b", "a.b.", "a.b.c.d", "x" * 600])
def test_without_what_the_browser_kept_there_is_no_errand(kept: str | None) -> None:
    with pytest.raises(OpenIdRefused, match="errand-unknown"):
        Errand.read(kept)


def test_an_errand_is_new_each_time_and_comes_back_as_it_was() -> None:
    one, other = Errand.new(), Errand.new()
    assert Errand.read(one.write()) == one
    assert not {one.state, one.nonce, one.verifier} & {other.state, other.nonce, other.verifier}
    # RFC 7636 section 4.1 asks for 43 characters.
    assert len(one.verifier) >= 43


@pytest.mark.parametrize("address", ["http://sso.example/x", "ftp://127.0.0.1/x", "", None, 7])
def test_a_provider_without_tls_is_not_spoken_to(address: object) -> None:
    with pytest.raises(ProviderUnreachable):
        check_address(address)


def test_settings_go_together(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)

    def settings(**others: object) -> Settings:
        common = {"database_url": "postgresql://x", "hub_api_url": "https://hub.example"}
        return Settings.model_validate(common | others)

    whole = {"openid_issuer": ISSUER, "openid_client_id": CLIENT, "openid_client_secret_file": secret}
    found = find_provider(settings(**whole))
    assert found is not None
    assert (found.redirect_url, found.client_secret) == ("https://hub.example/sign-in/openid/answer", "s3cret")
    assert "s3cret" not in repr(found)
    assert find_provider(settings()) is None
    for missing in ({"openid_client_id": ""}, {"openid_client_secret_file": None}, {"openid_issuer": "http://a.b"}):
        with pytest.raises(SettingsInvalid, match="OPENID_"):
            find_provider(settings(**whole | missing))
    secret.chmod(0o644)
    with pytest.raises(SettingsInvalid, match="read by others"):
        find_provider(settings(**whole))


async def test_a_subject_is_somebody_only_by_an_account_that_was_not_disabled(database: str) -> None:
    await schema.migrate(database)
    opened = await Database.open(database)
    account = make_openid_account("siti", Role.OFFICER, "unit-00001", None, "248289761001")
    async with opened.connection() as connection:
        assert await store.add(connection, account, NOW)
        assert not await store.add(connection, account._replace(name="budi"), NOW)
    token_given = await accounts.sign_in_subject(opened, "248289761001", "192.0.2.1", NOW)
    person = await accounts.recognise(opened, token_given, NOW)
    assert person is not None
    assert (person.role, person.unit, person.name) == (Role.OFFICER, "unit-00001", "siti")
    for unknown in ("", "248289761002", "siti"):
        with pytest.raises(AttemptRefused):
            await accounts.sign_in_subject(opened, unknown, "192.0.2.1", NOW)
    # Nobody knows its password, the subject least of all.
    with pytest.raises(AttemptRefused):
        await accounts.sign_in(opened, "siti", "248289761001", "192.0.2.1", NOW)
    async with opened.connection() as connection:
        await store.disable(connection, "siti", NOW)
    assert await accounts.recognise(opened, token_given, NOW) is None
    with pytest.raises(AttemptRefused):
        await accounts.sign_in_subject(opened, "248289761001", "192.0.2.1", NOW)
    await opened.close()


@pytest.mark.parametrize("subject", ["", "x" * 256, "a\nb"])
def test_a_subject_that_is_none_has_no_account(subject: str) -> None:
    with pytest.raises(AccountInvalid):
        make_openid_account("siti", Role.OPERATOR, None, None, subject)
