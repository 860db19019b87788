"""Two persons and a spare, who may act under a root document, and root documents good and bad. Deterministic."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from contracts.root import Root, read_chain, write_root
from contracts.wire.key import PrivateKey
from tests.contracts import vector_world as world
from tests.contracts.vector_world import DAY, NOW, ROOT, Json, ed25519_key, es256_key

ISSUED_AT = NOW - 40 * DAY
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


def key_entry(name: str, nbf: datetime = ISSUED_AT, lifetime: timedelta = 700 * DAY, **changes: Any) -> Json:
    """Describe a person's key as a root document does."""
    key = PERSONS[name]
    entry = {"kid": key.kid, "alg": key.alg, "jwk": dict(key.public.jwk)}
    return {**entry, "nbf": world.instant(nbf), "exp": world.instant(nbf + lifetime), "revoked_at": None, **changes}


def root_document(key: PrivateKey = ROOT, **changes: Any) -> Json:
    """Write root document 1, or what `changes` make of it."""
    return {
        "format": "tkahub-root/1", "environment": "demo", "version": 1, "issued_at": world.instant(ISSUED_AT),
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


def extend(chain: Sequence[Json], *keys: PrivateKey, pinned: PrivateKey = ROOT, **changes: Any) -> list[Json]:
    """Return a chain with one root document more, signed with `keys`, or with the key that is pinned."""
    last = read(chain, pinned)
    document = {**last.document, "version": last.version + 1, "previous": last.sha256, **changes}
    return [*chain, write_root(document, *(keys or (pinned,)))]


def read(chain: Sequence[Json], pinned: PrivateKey = ROOT) -> Root:
    """Return the root document in force."""
    return read_chain(list(chain), pinned.public)[-1]
