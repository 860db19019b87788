"""A day's record of look-ups under one root, so that none can be changed, taken out or put in afterwards.

    leaf of a look-up   SHA-256(0x00 || salt || look-up), 16 random bytes and then compact JSON, members sorted by name
    leaf of the day     SHA-256(0x00 || salt), 32 random bytes
    root                of the Merkle tree (RFC 9162 section 2.1) over all leaves in ascending order

The root alone stands in the evidence log. Salts keep anybody from trying out who might have looked at what; the order
of the leaves says nothing of time. What is sealed to the oversight body is made up to a power of two each day by cover,
which only the holder of the key can tell from look-ups (SPEC.md section 9.4).
"""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic_core import to_json

from contracts import merkle
from contracts.wire import base64url

FORMAT = "tkahub-lookups/1"
SALT_BYTES = 16
DAY_SALT_BYTES = 32
SEALED_MIN = 32
#: What a sealed look-up is encrypted for (RFC 9180: `info`); cover holds this member alone.
INFO = b"tkahub-lookup/1"
COVER = "cover"


def write_open(members: Mapping[str, str]) -> bytes:
    """Write a look-up that its readers may see: at, role, actor, page, subject, reason."""
    return to_json(dict(sorted(members.items())))


def write_sealed(day: str, sealed: bytes) -> bytes:
    """Write a look-up of which all but the day is encrypted."""
    return to_json({"day": day, "sealed": base64url.encode(sealed)})


def hash_lookup(salt: bytes, written: bytes) -> bytes:
    """Return the leaf of a look-up. Raises ValueError for a salt of another length."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a look-up's salt has {SALT_BYTES} bytes")
    return merkle.leaf_hash(salt + written)


def find_root(day_salt: bytes, leaves: Collection[bytes]) -> bytes:
    """Return the root of a day. Raises ValueError for a salt of another length."""
    if len(day_salt) != DAY_SALT_BYTES:
        raise ValueError(f"a day's salt has {DAY_SALT_BYTES} bytes")
    return merkle.root(sorted([merkle.leaf_hash(day_salt), *leaves]))


def count_cover(sealed: int) -> int:
    """Return how much cover a day needs that has so many sealed look-ups."""
    padded = SEALED_MIN
    while padded < sealed:
        padded *= 2
    return padded - sealed


def read_root(document: Mapping[str, Any]) -> bytes:
    """Return the root that a day's exported look-ups come to. Raises KeyError, TypeError or ValueError if malformed."""
    leaves = [_read_leaf(document["day"], one) for one in document["lookups"]]
    return find_root(decode(document["salt"]), leaves)


def _read_leaf(day: str, lookup: Mapping[str, str]) -> bytes:
    salt = decode(lookup["salt"])
    if "sealed" in lookup:
        return hash_lookup(salt, write_sealed(day, decode(lookup["sealed"])))
    return hash_lookup(salt, write_open({name: value for name, value in lookup.items() if name != "salt"}))


def decode(text: str) -> bytes:
    """Return the bytes of a member in base64url. Raises ValueError."""
    raw = base64url.decode(text.encode())
    if raw is None:
        raise ValueError("not base64url")
    return raw
