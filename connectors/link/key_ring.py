"""A connector's key and, while it is being rotated, the next one: two files side by side, so that both overlap.

    KEY_FILE            the key in use
    KEY_FILE.next       made by `rotate-key`; used from when the registry has it in force
    KEY_FILE.previous   what `rotate-key` put aside when it made the next one the key

Nothing is ever signed with a key that the registry does not know, and nothing waits while the operator has not
registered the next one.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import structlog

from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.trust import PRIVATE_FILE_MODE, read_private_key
from contracts.registry import Registry
from contracts.wire.key import PrivateKey, Signer
from keys.place import is_token

Use = Literal["message", "api"]
NEXT_SUFFIX: Final = ".next"
PREVIOUS_SUFFIX: Final = ".previous"
SETTINGS: Final[dict[Use, str]] = {"message": "KEY_FILE", "api": "API_KEY_FILE"}

_log = structlog.get_logger()


def next_file(file: Path) -> Path:
    """Return where the next key is kept."""
    return file.with_name(file.name + NEXT_SUFFIX)


def read_next(file: Path, use: Use) -> Signer | None:
    """Return the next key, if there is one. A token has none: there the setting names another key, and a restart."""
    following = next_file(file)
    if is_token(file) or not following.exists():
        return None
    return read_private_key(following, SETTINGS[use] + NEXT_SUFFIX)


def is_in_force(registry: Registry, key: Signer, use: Use, participant: str, now: datetime) -> bool:
    """Whether the registry lets this participant use the key now."""
    found = registry.key(key.kid)
    if found is None or found[0].id != participant:
        return False
    entry = found[1]
    return entry.use == use and entry.revoked_at is None and entry.nbf <= now < entry.exp


class KeyRing:
    """The key to sign with now. Raises SettingsFault when a file cannot be used."""

    def __init__(
        self, file: Path, use: Use, participant: str, registry: Callable[[], Registry | None], clock: Clock
    ) -> None:
        self._file = file
        self._use = use
        self._participant = participant
        self._registry = registry
        self._clock = clock
        self._told: str | None = None
        self.reload()

    def reload(self) -> None:
        """Read the files again: another process may have begun or finished a rotation."""
        self._key = read_private_key(self._file, SETTINGS[self._use])
        self._next = read_next(self._file, self._use)

    def current(self) -> Signer:
        """Return the next key once it is in force, else the key."""
        if self._next is not None and self._may_use(self._next):
            if self._told != self._next.kid:
                self._told = self._next.kid
                _log.info("the next key is in force and used from now on", use=self._use, kid=self._next.kid)
            return self._next
        return self._key

    def revoked(self) -> frozenset[str]:
        """Return the kids of this participant's keys that the registry has revoked."""
        registry = self._registry()
        party = None if registry is None else registry.participant(self._participant)
        return frozenset(key.kid for key in (() if party is None else party.keys) if key.revoked_at is not None)

    def may_sign(self) -> bool:
        """Whether the registry has the current key in force."""
        return self._may_use(self.current())

    def _may_use(self, key: Signer) -> bool:
        registry = self._registry()
        return registry is not None and is_in_force(registry, key, self._use, self._participant, self._clock())


def make_next(file: Path) -> Signer:
    """Return the next key of `file`, which is made if there is none, of the same kind."""
    key, following = read_private_key(file, "the key"), next_file(file)
    if not following.exists():
        _keep(following, PrivateKey.generate(key.alg).to_pem())
    return read_private_key(following, "the next key")


def promote(file: Path) -> None:
    """Make the next key the key; the old one is kept beside it. At every moment there is a key."""
    _keep(file.with_name(file.name + PREVIOUS_SUFFIX), file.read_bytes())
    failpoint.reach("keys.before_promote")
    next_file(file).replace(file)
    failpoint.reach("keys.after_promote")


def _keep(file: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    part = file.with_name(file.name + ".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE_MODE)
    try:
        os.fchmod(handle, PRIVATE_FILE_MODE)
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    failpoint.reach("keys.before_keep")
    part.replace(file)
    failpoint.reach("keys.after_keep")
