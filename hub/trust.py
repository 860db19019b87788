"""The pinned trust root, the hub's own key, and the registry in force as they verify under it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pydantic_core

from contracts.errors import Refusal
from contracts.registry import Registry
from contracts.wire.key import PrivateKey, PublicKey
from hub.settings import SettingsInvalid
from hub.store import registry as registry_store

if TYPE_CHECKING:
    from hub.store.database import Connection

OTHERS_MAY_READ = 0o077


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


def read_private_key(path: Path | None, name: str) -> PrivateKey:
    """Return the private key from its PEM file, which nobody but its owner may read. Raises SettingsInvalid."""
    if path is None:
        raise SettingsInvalid(f"{name} is not set: it names a file with a private key (PKCS#8 PEM, mode 0600).")
    try:
        if path.stat().st_mode & OTHERS_MAY_READ:
            raise SettingsInvalid(f"{name} can be read by others: set its mode to 0600.")
        return PrivateKey.from_pem(path.read_bytes())
    except (OSError, ValueError, Refusal) as error:
        raise SettingsInvalid(f"{name} cannot be used: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "it does not hold the key that is expected there"


class RegistryInForce:
    """The current registry, read again only when its version has changed."""

    def __init__(self, root: PublicKey) -> None:
        self.root = root
        self._version = 0
        self._registry: Registry | None = None

    async def refresh(self, connection: "Connection") -> Registry:
        """Return the registry in force.

        Raises RegistryAbsent before the first; RegistryError if the stored one does not verify under the root.
        """
        version = await registry_store.read_version(connection)
        if self._registry is None or version != self._version:
            current = await registry_store.read_current(connection)
            if current is None:
                raise RegistryAbsent("There is no registry yet: run `hub participants add` first.")
            self._version, self._registry = current[0], Registry.read(current[1].encode(), self.root)
        return self._registry
