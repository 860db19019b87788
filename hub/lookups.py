"""The record of look-ups: nobody's file is shown before it is written down who looks, at what, and why.

What the oversight body looks up is sealed to its own key by HPKE (RFC 9180, X25519, HKDF-SHA256, ChaCha20-Poly1305)
and padded to one length, so that the operator and the ministry, whom it may concern, cannot tell whose file it was.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from contracts.lookups import INFO, SALT_BYTES, hash_lookup, write_open, write_sealed
from contracts.rules.clock import jakarta_day
from contracts.wire.instant import write_instant
from hub.accounts import Person, Role
from hub.settings import SettingsInvalid
from hub.store import lookups
from hub.store.database import Connection, Database
from hub.store.lookups import Leaf

SEALED_BYTES = 2_048
REASON_CHARACTERS_MIN = 8
REASON_CHARACTERS_MAX = 300
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class ReasonMissing(Exception):
    """A look-up needs a reason that says something."""


class SealMissing(Exception):
    """The oversight body's key is not set, and what it looks up is never written down in the open."""


def read_oversight_key(path: Path | None) -> X25519PublicKey | None:
    """Return the key to which the oversight body's look-ups are sealed, or None. Raises SettingsInvalid."""
    if path is None:
        return None
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise SettingsInvalid("OVERSIGHT_SEAL_KEY_FILE cannot be used: it names a public X25519 key (PEM).")
    return key


def seal(members: Mapping[str, str], key: X25519PublicKey) -> bytes:
    """Return a look-up that only the holder of the key's private half can read; every one has the same length."""
    plain = json.dumps(members, ensure_ascii=False).encode()
    return SUITE.encrypt(plain.ljust(SEALED_BYTES), key, INFO)


def make_leaf(written: bytes) -> Leaf:
    """Give a look-up its salt and its leaf."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Leaf(salt, hash_lookup(salt, written))


class Register:
    """Writes look-ups down."""

    def __init__(self, database: Database, oversight_key: X25519PublicKey | None) -> None:
        self._database = database
        self._oversight_key = oversight_key

    async def note(self, person: Person, page: str, subject: str, reason: str, now: datetime) -> None:
        """Write down that `person` looks at `subject`. Raises ReasonMissing or SealMissing: then show nothing."""
        async with self._database.connection() as connection:
            await self.note_within(connection, person, (page, subject, reason), now)

    async def note_within(
        self, connection: Connection, person: Person, what: tuple[str, str, str], now: datetime
    ) -> None:
        """Write down a look-up, its page, subject and reason, in the caller's transaction. Raises like `note`."""
        page, subject, reason = what
        reason = " ".join(reason.split())[:REASON_CHARACTERS_MAX]
        if len(reason) < REASON_CHARACTERS_MIN:
            raise ReasonMissing
        day, role, actor = jakarta_day(now), person.role, person.name or ""
        members = {"at": write_instant(now), "role": role.value, "actor": actor, "page": page}
        members |= {"subject": subject, "reason": reason}
        if role is not Role.OVERSIGHT:
            row = (now, role.value, actor, page, subject, reason)
            await lookups.add_open(connection, day, row, make_leaf(write_open(members)))
            return
        if self._oversight_key is None:
            raise SealMissing
        sealed = seal(members, self._oversight_key)
        await lookups.add_sealed(connection, day, [(sealed, make_leaf(write_sealed(day.isoformat(), sealed)))])
