"""The pinned trust root, the hub's own key, and the registry in force as they verify under it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic_core

from contracts.errors import Code, Refusal, RegistryError
from contracts.registry import Registry
from contracts.suspension import suspend
from contracts.wire.key import PublicKey, Signer
from hub.settings import SettingsInvalid
from hub.store import registry as registry_store
from hub.store.registry import Stand, Stored
from keys.fault import KeyFault
from keys.place import open_key

if TYPE_CHECKING:
    from hub.store.database import Connection


class RegistryAbsent(Exception):
    """No registry was ever applied to this database."""


def read_root(path: Path | None) -> PublicKey:
    """Return the pinned public key from its JWK file. Raises SettingsInvalid."""
    if path is None:
        raise SettingsInvalid("TRUST_ROOT_FILE is not set: it names the file with the public root key (JWK).")
    try:
        return PublicKey.from_jwk(pydantic_core.from_json(path.read_bytes()))
    except (OSError, ValueError, AttributeError, Refusal) as error:
        raise SettingsInvalid(f"TRUST_ROOT_FILE cannot be used: {_reason(error)}.") from None


def read_private_key(path: Path | None, name: str) -> Signer:
    """Return what signs with a key, of a PEM file that only its owner may read or of a token.

    Raises SettingsInvalid.
    """
    if path is None:
        raise SettingsInvalid(f"{name} is not set: it names a file with a private key (PKCS#8 PEM, mode 0600).")
    try:
        return open_key(path)
    except KeyFault as fault:
        raise SettingsInvalid(f"{name} {fault}.") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "it does not hold the key that is expected there"


@dataclass(frozen=True, slots=True)
class InForce:
    """The registry in force with what suspensions stop, as it was signed, and the number of both."""

    registry: Registry
    signed: str
    stand: Stand


def verify_stored(stored: Stored, root: PublicKey) -> InForce:
    """Verify what the database holds under the pinned root key.

    Raises RegistryError, also if rows and the log's own count disagree: no row stands there that no command wrote.
    """
    registry = suspend(Registry.read(stored.document.encode(), root), (act.encode() for act in stored.suspensions))
    noted, held = stored.stand, Stand(stored.version, len(stored.suspensions))
    if noted != held or registry.version != stored.version:
        detail = (
            f"rows hold version {held.version} ({registry.version}) and {held.suspensions} suspensions, the log notes"
        )
        raise RegistryError(Code.REGISTRY_ROLLBACK, f"{detail} {noted.version} and {noted.suspensions}")
    return InForce(registry, stored.document, noted)


async def load(connection: "Connection", root: PublicKey) -> InForce:
    """Read and verify what is in force. Raises RegistryAbsent, RegistryError."""
    stored = await registry_store.read_in_force(connection)
    if stored is None:
        raise RegistryAbsent("There is no registry yet: run `hub registry propose` first.")
    return verify_stored(stored, root)


class RegistryInForce:
    """The current registry, read again only when its version or the suspensions have changed."""

    def __init__(self, root: PublicKey) -> None:
        self.root = root
        self._in_force: InForce | None = None

    async def refresh(self, connection: "Connection") -> Registry:
        """Return the registry in force.

        Raises RegistryAbsent before the first; RegistryError if the stored one does not verify under the root.
        """
        return (await self.refresh_signed(connection)).registry

    async def refresh_signed(self, connection: "Connection") -> InForce:
        """Return the registry in force with the document as it was signed. Raises RegistryAbsent, RegistryError."""
        if self._in_force is None or self._in_force.stand != await registry_store.read_stand(connection):
            self._in_force = await load(connection, self.root)
        return self._in_force
