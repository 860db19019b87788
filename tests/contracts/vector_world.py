"""The world of the vectors: fixed keys, one registry, and the means to sign well and badly. Deterministic."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from contracts import merkle
from contracts.errors import EXPLANATIONS, Code
from contracts.registry import TYP_REGISTRY
from contracts.wire import base64url
from contracts.wire.envelope import write_envelope, write_sequence
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey
from contracts.wire.signature import TYP_BATCH, TYP_EVENT, TYP_RECOMMENDATION
from tests.contracts import root_world
from tests.contracts.root_world import TWO, roots_for, write_registry

Json = root_world.Json

DAY, P256_ORDER, ROOT = root_world.DAY, root_world.P256_ORDER, root_world.ROOT
ed25519_key, es256_key = root_world.ed25519_key, root_world.es256_key
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"

BRI, MANDIRI, HUB = "https://bri.example/tka", "https://mandiri.example/tka", "https://hub.example/tka"
MINISTRY, IMMIGRATION = "https://ministry.example/tka", "https://immigration.example/tka"
RECEIVED = "id.tka.bank.payment.received.v1"
BILLED = "id.tka.ministry.billing.issued.v1"
ISSUED = "id.tka.hub.recommendation.issued.v1"
HEARTBEAT = "id.tka.hub.heartbeat.v1"
# A contract that the code knows and this registry does not.
UNREGISTERED = "id.tka.bank.payment.reversed.v1"
# Who publishes what in this registry: few types, so that the file is small and does not change with every new event.
PUBLISHES = {
    "bank": [RECEIVED, "id.tka.bank.payment.booked.v1", UNREGISTERED],
    "ministry": [BILLED],
    "immigration": ["id.tka.immigration.recommendation.acknowledged.v1"],
    "hub": [ISSUED, HEARTBEAT],
}


OTHER_ROOT = ed25519_key("other root")
KEYS = {
    name: es256_key(name) if name.startswith(("mandiri", "es256")) else ed25519_key(name)
    for name in (
        "bri-1", "bri-2", "bri-old", "bri-next", "bri-revoked", "bri-api", "mandiri-1", "ministry-1",
        "immigration-1", "hub-1", "stranger", "es256-stranger",
    )
}  # fmt: skip


def instant(moment: datetime) -> str:
    """Spell a time."""
    return write_instant(moment)


def key_entry(
    name: str, *, use: str = "message", nbf: datetime = NOW - 30 * DAY, exp: datetime = NOW + 300 * DAY
) -> Json:
    """Describe a key as the registry does."""
    key = KEYS[name]
    return {
        "kid": key.kid, "alg": key.alg, "use": use, "jwk": dict(key.public.jwk),
        "nbf": instant(nbf), "exp": instant(exp), "revoked_at": None,
    }  # fmt: skip


def _participant(name: str, kind: str, source: str, keys: list[Json], bank_code: str | None = None) -> Json:
    return {
        "id": name, "kind": kind, "name": name.title(), "bank_code": bank_code, "sources": [source], "keys": keys,
        "publishes": PUBLISHES[kind], "subscribes": [],
    }  # fmt: skip


def document() -> Json:
    """Make the base registry document, version 7; callers change their own copy."""
    bri_keys = [
        key_entry("bri-1"),
        key_entry("bri-2", nbf=NOW - DAY),
        key_entry("bri-old", nbf=NOW - 400 * DAY, exp=NOW - DAY),
        key_entry("bri-next", nbf=NOW + DAY),
        {**key_entry("bri-revoked"), "revoked_at": instant(NOW - DAY)},
        key_entry("bri-api", use="api"),
    ]
    ministry = _participant("ministry", "ministry", MINISTRY, [key_entry("ministry-1")])
    immigration = _participant("immigration", "immigration", IMMIGRATION, [key_entry("immigration-1")])
    immigration["subscribes"] = [{"type": ISSUED, "filter": {"kanim": ["JKT01"]}}]
    return deepcopy({
        "format": "tkahub-registry/1", "environment": "demo", "version": 7, "issued_at": instant(NOW - DAY),
        "log_origin": "hub.example/demo", "proof_required": False,
        "limits": {"expiry_days_max": 90, "clock_skew_s": 300, "deferral_s": 600, "unmatched_s": 86400,
                   "heartbeat_s": 30},
        "topics": {"from.bri": 2, "from.mandiri": 1, "from.ministry": 1, "from.immigration": 1, "to.bri": 1,
                   "to.mandiri": 1, "to.ministry": 1, "to.immigration": 1, "recommendations": 1},
        "participants": [
            _participant("bri", "bank", BRI, bri_keys, "002"),
            _participant("mandiri", "bank", MANDIRI, [key_entry("mandiri-1")], "008"),
            ministry,
            immigration,
            _participant("hub", "hub", HUB, [key_entry("hub-1")]),
        ],
        "rule_sets": [{"id": "2021", "version": 1, "sha256": sha256(b"2021").hexdigest()}],
        "contracts": [
            {"type": t, "sha256": sha256(t.encode()).hexdigest()}
            for types in PUBLISHES.values() for t in types if t != UNREGISTERED
        ],
    })  # fmt: skip


def party(registry: Json, name: str) -> Json:
    """Find a participant in a document."""
    return next(entry for entry in registry["participants"] if entry["id"] == name)


def signed(registry: Mapping[str, Any], root: PrivateKey = ROOT) -> str:
    """Sign a document that is in order."""
    return write_registry(registry, root).decode()


def signed_unchecked(
    payload: bytes, root: PrivateKey = ROOT, *, persons: Sequence[PrivateKey] = TWO, roots: object = None, **header: Any
) -> str:
    """Sign any bytes as a registry document; members of `header` change those of each protected header."""
    encoded, signatures = base64url.encode(payload), []
    for key in persons:
        members = {"alg": key.alg, "kid": key.kid, "typ": TYP_REGISTRY, **header}
        said = base64url.encode(compact({name: member for name, member in members.items() if member is not None}))
        signatures.append({"protected": said, "signature": base64url.encode(key.sign(f"{said}.{encoded}".encode()))})
    roots = roots_for(root) if roots is None else roots
    return compact({"payload": encoded, "signatures": signatures, "roots": roots}).decode()


def compact(content: object) -> bytes:
    """Write compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def attributes(number: int = 1, /, **changes: Any) -> Json:
    """Give the attributes of a bank's event; a change to None leaves one out."""
    code = f"{820261124000000 + number:015d}"
    made = {
        "specversion": "1.0", "id": f"e-{number}", "source": BRI, "type": RECEIVED, "time": instant(NOW - DAY),
        "recordedtime": instant(NOW), "subject": code,
        "dataschema": f"https://contracts.tkahub.example/{changes.get('type', RECEIVED)}.json",
        "datacontenttype": "application/json", "audience": "demo/from.bri", "sequence": write_sequence(number),
        "expirytime": instant(NOW + 30 * DAY), "correlationid": f"pay-{number}",
        "nonce": base64url.encode(sha256(f"nonce {number}".encode()).digest()[:16]), **changes,
    }  # fmt: skip
    return {name: content for name, content in made.items() if content is not None}


def payment(number: int = 1, /, **changes: Any) -> Json:
    """Give the data of a payment notification."""
    code = f"{820261124000000 + number:015d}"
    return {
        "bank_code": "002", "billing_code": code, "amount": "1200.00", "currency": "USD",
        "payment_request_id": f"REQ{number:08d}", "paid_at": instant(NOW - DAY), "ntpn": f"{number:016d}",
        "bank_reference": f"REF{number:08d}", **changes,
    }  # fmt: skip


def value(number: int = 1, /, data: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
    """Write a bank's event; attributes and data can be changed."""
    return write_envelope(attributes(number, **changes), payment(number) if data is None else data)


def mandiri_value(number: int = 1, /, **changes: Any) -> bytes:
    """Write an event of the bank that signs ES256."""
    own = {"source": MANDIRI, "audience": "demo/from.mandiri", **changes}
    return value(number, payment(number, bank_code="008"), **own)


def bill_value(number: int = 1, /, **changes: Any) -> bytes:
    """Write the ministry's notice of a billing code."""
    code = f"{820261124000000 + number:015d}"
    data = {
        "application": f"TKA/2026/{number}", "billing_code": code, "amount": "1200.00", "currency": "USD",
        "usd_amount": "1200.00", "fx_rate": None, "fx_date": None, "expires_at": instant(NOW + 7 * DAY),
        "payer": "PT Contoh Jaya",
    }  # fmt: skip
    own = {"source": MINISTRY, "audience": "demo/from.ministry", "type": BILLED, "subject": data["application"]}
    return value(number, data, **{**own, **changes})


def protected(key: PrivateKey, typ: str = TYP_EVENT, **changes: Any) -> bytes:
    """Write P; a change adds or replaces a member."""
    return compact({"alg": key.alg, "kid": key.kid, "typ": typ, **changes})


def seal(header: bytes, payload: bytes, key: PrivateKey) -> str:
    """Sign any header and payload as a detached compact JWS."""
    first = base64url.encode(header)
    signature = key.sign(f"{first}.{base64url.encode(payload)}".encode())
    return f"{first}..{base64url.encode(signature)}"


def single(content: bytes, key: PrivateKey, typ: str = TYP_EVENT) -> str:
    """Sign one value well."""
    return seal(protected(key, typ), content, key)


def statement(values: Sequence[bytes], **changes: Any) -> Json:
    """Make the statement of a batch; a change to None leaves a member out."""
    root = merkle.root([merkle.leaf_hash(content) for content in values])
    made = {
        "vds": "RFC9162_SHA256", "iss": BRI, "aud": "demo/from.bri", "size": len(values),
        "root": base64url.encode(root),
        "first": write_sequence(1), "last": write_sequence(max(len(values), 1)), "prev": base64url.encode(bytes(32)),
        "iat": instant(NOW), **changes,
    }  # fmt: skip
    return {name: content for name, content in made.items() if content is not None}


def batch_jws(payload: bytes, key: PrivateKey, header: bytes | None = None) -> str:
    """Sign the bytes of a statement."""
    body = f"{base64url.encode(header or protected(key, TYP_BATCH))}.{base64url.encode(payload)}"
    return f"{body}.{base64url.encode(key.sign(body.encode()))}"


def path(values: Sequence[bytes], index: int) -> list[bytes]:
    """Give the inclusion path of one value."""
    return merkle.inclusion_path([merkle.leaf_hash(content) for content in values], index)


def proof(index: int | str, nodes: Sequence[bytes]) -> str:
    """Spell a jws-proof."""
    return f"{index}.{base64url.encode(b''.join(nodes))}"


def record(
    content: bytes | None, jws: str | None, jws_proof: str | None = None, *, headers: list[list[str]] | None = None,
    expect: str = "accept", code: str | None = None, disposition: str | None = None, **changes: Any,
) -> Json:  # fmt: skip
    """Make one record of a vector; topic, key_text, append_time_ms, registry and whole headers can be changed."""
    if headers is None:
        headers = [["content-type", CONTENT_TYPE]]
        headers += [["jws", jws]] if jws is not None else []
        headers += [["jws-proof", jws_proof]] if jws_proof is not None else []
    subject = changes.pop("key_text", _subject(content))
    if disposition is None:
        deferred = code is not None and EXPLANATIONS[Code(code)].deferrable
        disposition = "accepted" if code is None else "deferred" if deferred else "refused"
    return {
        "topic": "from.bri", "partition": 0, "offset": 0, "append_time_ms": int(NOW.timestamp() * 1000) + 1000,
        "key": None if subject is None else base64url.encode(subject.encode()),
        "value": None if content is None else base64url.encode(content), "headers": headers,
        "expect": expect, "code": code,
        "disposition": disposition, **changes,
    }  # fmt: skip


def _subject(content: bytes | None) -> str | None:
    try:
        found = json.loads(content or b"").get("subject")
    except (ValueError, AttributeError, RecursionError):
        return "820261124000001"
    return found if isinstance(found, str) else "820261124000001"


def recommendation_value(event_type: str = ISSUED) -> bytes:
    """Write a recommendation as the hub seals it."""
    data = {"number": "TKA-0123456789AB", "revision": 1, "state": "issued", "application": "TKA/2026/1"}
    own = {"source": HUB, "audience": "demo/recommendations/0", "type": event_type, "subject": "TKA/2026/1"}
    return value(1, data, **own)


def recommendation_jws(content: bytes, typ: str = TYP_RECOMMENDATION) -> str:
    """Sign a recommendation as the hub does."""
    return single(content, KEYS["hub-1"], typ)
