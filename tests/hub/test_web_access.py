"""Client assertions: what a stock JOSE library makes is accepted, and everything near it is refused with its reason."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from contracts.registry import Registry
from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from hub.web.access import read_assertion
from hub.web.problems import Problem
from tests.contracts.root_world import write_registry
from tests.hub.world import World

API_URL = "https://hub.example"
WORLD = World()
NOW = int(WORLD.now.timestamp())


def registry_of(document: dict[str, Any] | None = None) -> Registry:
    """Return a registry as the hub reads it."""
    return Registry.read(write_registry(document or WORLD.document(), WORLD.root), WORLD.root.public)


def write_assertion(key: PrivateKey, participant: str = "bri", **others: Any) -> str:
    """Return a client assertion; `others` replace claims (None removes) or, by `header_`, header members."""
    claims = {"iss": participant, "sub": participant, "aud": API_URL, "exp": NOW + 50, "jti": str(uuid4())}
    header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    for name, value in others.items():
        target, member = (header, name[7:]) if name.startswith("header_") else (claims, name)
        target[member] = value
    claims = {name: value for name, value in claims.items() if value is not None}
    parts = [base64url.encode(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, base64url.encode(key.sign(".".join(parts).encode()))])


def refuse(assertion: str, registry: Registry | None = None) -> str:
    """Return the reason for which an assertion is refused."""
    with pytest.raises(Problem) as refused:
        read_assertion(assertion, registry or registry_of(), API_URL, WORLD.now)
    assert refused.value.status == 401
    return refused.value.slug


@pytest.mark.parametrize("name", ["bank_api", "immigration_api"])
def test_an_assertion_of_a_stock_library_is_accepted(name: str) -> None:
    key: PrivateKey = getattr(WORLD, name)
    kind = OKPKey if key.alg == "Ed25519" else ECKey
    participant = "bri" if name == "bank_api" else "immigration"
    claims = {"iss": participant, "sub": participant, "aud": API_URL, "iat": NOW, "exp": NOW + 30, "jti": "j-1"}
    header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    assertion = jwt.encode(header, claims, kind.import_key(key.to_pem()), algorithms=[key.alg])
    caller = read_assertion(assertion, registry_of(), API_URL, WORLD.now)
    assert (caller.participant.id, caller.jti) == (participant, "j-1")
    assert caller.expires_at == datetime.fromtimestamp(NOW + 30, UTC)


def test_an_audience_in_a_list_of_one_and_a_passed_nbf_are_accepted() -> None:
    assertion = write_assertion(WORLD.bank_api, aud=[API_URL], nbf=NOW - 10)
    assert read_assertion(assertion, registry_of(), API_URL, WORLD.now).participant.id == "bri"


@pytest.mark.parametrize(
    ("slug", "others"),
    [
        ("assertion-issuer", {"iss": "immigration"}),
        ("assertion-issuer", {"sub": "immigration"}),
        ("assertion-issuer", {"sub": None}),
        ("assertion-audience", {"aud": "https://other.example"}),
        ("assertion-audience", {"aud": [API_URL, "https://other.example"]}),
        ("assertion-audience", {"aud": None}),
        ("assertion-expiry", {"exp": NOW - 60}),
        ("assertion-expiry", {"exp": NOW + 3_600}),
        ("assertion-expiry", {"exp": None}),
        ("assertion-expiry", {"exp": "soon"}),
        ("assertion-expiry", {"exp": True}),
        ("assertion-expiry", {"exp": 10**30}),
        ("assertion-expiry", {"nbf": NOW + 3_600}),
        ("assertion-jti", {"jti": None}),
        ("assertion-jti", {"jti": "x" * 129}),
        ("assertion-jti", {"jti": "with space"}),
        ("assertion-header", {"header_typ": "at+jwt"}),
        ("assertion-header", {"header_crit": ["b64"]}),
        ("assertion-header", {"header_jwk": {}}),
        ("assertion-header", {"header_kid": 7}),
        ("assertion-alg", {"header_alg": "none"}),
        ("assertion-alg", {"header_alg": "HS256"}),
        ("assertion-alg", {"header_alg": "Ed25519"}),
        ("key-unknown", {"header_kid": "A" * 43}),
    ],
)
def test_a_wrong_assertion_is_refused(slug: str, others: dict[str, Any]) -> None:
    assert refuse(write_assertion(WORLD.bank_api, **others)) == slug


def test_a_message_key_opens_no_door() -> None:
    assert refuse(write_assertion(WORLD.bank)) == "key-use"


@pytest.mark.parametrize("change", [{"revoked_at": "2026-01-01T00:00:00Z"}, {"exp": "2026-01-02T00:00:00Z"}])
def test_a_key_out_of_force_opens_no_door(change: dict[str, str]) -> None:
    entry = WORLD.key(WORLD.bank_api, "api", nbf="2026-01-01T00:00:00Z") | change
    parties = WORLD.participants()
    parties[1]["keys"] = [entry]
    registry = registry_of(WORLD.document(participants=parties))
    assert refuse(write_assertion(WORLD.bank_api), registry) == "key-not-in-force"


def test_another_participants_signature_is_refused() -> None:
    stranger = PrivateKey.generate("ES256")
    assert refuse(write_assertion(stranger, header_kid=WORLD.bank_api.kid)) == "signature-invalid"


def _b64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "assertion",
    ["", "abc", "a.b", "a.b.c.d", "é.é.é", "=.=.=", _b64("[1]") + ".e30.AA", _b64('{"alg":1,"alg":2}') + ".e30.AA"],
)
def test_garbage_is_refused_in_the_same_form(assertion: str) -> None:
    assert refuse(assertion) in {"assertion-missing", "assertion-malformed"}
