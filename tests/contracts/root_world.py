"""Two persons and a spare, who may act under a root document, and root documents good and bad. Deterministic."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contracts import registry
from contracts.root import Root, read_chain, write_root
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey

Json = dict[str, Any]

DAY = timedelta(days=1)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def ed25519_key(name: str) -> PrivateKey:
    """Derive an Ed25519 key from a name."""
    return PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest()))


def es256_key(name: str) -> PrivateKey:
    """Derive a P-256 key from a name."""
    scalar = int.from_bytes(sha256(name.encode()).digest(), "big") % (P256_ORDER - 1) + 1
    return PrivateKey(ec.derive_private_key(scalar, ec.SECP256R1()))


ROOT = ed25519_key("root")

#: So early, and the keys so long in force, that worlds of any time can use them.
ISSUED_AT = datetime(2020, 1, 1, tzinfo=UTC)
NEXT_ROOT = ed25519_key("next root")
#: Sari has a second key, since one person's two keys count once; only she and Budi may suspend.
PERSONS = {
    "sari": ed25519_key("person sari"),
    "sari-2": es256_key("person sari 2"),
    "budi": es256_key("person budi"),
    "wayan": ed25519_key("person wayan"),
    "nobody": ed25519_key("person nobody"),
}
TWO = (PERSONS["sari"], PERSONS["budi"])


def twin_of(name: str) -> PrivateKey:
    """Return the other key that whoever holds a person's key of P-256 has: the same x, the other y."""
    scalar = int.from_bytes(sha256(f"person {name}".encode()).digest(), "big") % (P256_ORDER - 1) + 1
    return PrivateKey(ec.derive_private_key(P256_ORDER - scalar, ec.SECP256R1()))


def key_entry(name: str, nbf: datetime = ISSUED_AT, lifetime: timedelta = 28_000 * DAY, **changes: Any) -> Json:
    """Describe a person's key as a root document does."""
    key = PERSONS[name]
    entry = {"kid": key.kid, "alg": key.alg, "jwk": dict(key.public.jwk)}
    return {**entry, "nbf": write_instant(nbf), "exp": write_instant(nbf + lifetime), "revoked_at": None, **changes}


def root_document(key: PrivateKey = ROOT, **changes: Any) -> Json:
    """Write root document 1, or what `changes` make of it."""
    return {
        "format": "tkahub-root/1", "environment": "demo", "version": 1, "issued_at": write_instant(ISSUED_AT),
        "previous": None, "root": dict(key.public.jwk), "threshold": 2,
        "persons": [
            {"id": "sari", "name": "Sari", "may_suspend": True, "keys": [key_entry("sari"), key_entry("sari-2")]},
            {"id": "budi", "name": "Budi", "may_suspend": True, "keys": [key_entry("budi")]},
            {"id": "wayan", "name": "Wayan", "may_suspend": False, "keys": [key_entry("wayan")]},
        ],
        **deepcopy(changes),
    }  # fmt: skip


def chain_of(key: PrivateKey = ROOT, **changes: Any) -> list[Json]:
    """Return a chain of one root document, signed with its own key."""
    return [write_root(root_document(key, **changes), key)]


@cache
def _chain_for(kid: str, environment: str) -> str:
    return json.dumps(chain_of(_ROOT_KEYS[kid], environment=environment))


_ROOT_KEYS: dict[str, PrivateKey] = {}


def roots_for(root: PrivateKey, environment: str = "demo") -> list[Json]:
    """Return the chain of one root document under which `write_registry` signs; made once for each key."""
    _ROOT_KEYS[root.kid] = root
    chain: list[Json] = json.loads(_chain_for(root.kid, environment))
    return chain


def write_registry(document: Mapping[str, Any], root: PrivateKey = ROOT) -> bytes:
    """Let two persons under `root` sign a registry document that is in order."""
    return registry.write_registry(document, roots_for(root, document["environment"]), *TWO)


def extend(chain: Sequence[Json], *keys: PrivateKey, pinned: PrivateKey = ROOT, **changes: Any) -> list[Json]:
    """Return a chain with one root document more, signed with `keys`, or with the key that is pinned."""
    last = read(chain, pinned)
    document = {**last.document, "version": last.version + 1, "previous": last.sha256, **changes}
    return [*chain, write_root(document, *(keys or (pinned,)))]


def read(chain: Sequence[Json], pinned: PrivateKey = ROOT) -> Root:
    """Return the root document in force."""
    return read_chain(list(chain), pinned.public)[-1]
