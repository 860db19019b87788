"""What this connector believes: a root key that it was given, and the newest registry that the root has signed.

The registry is kept on disk, so that a restart believes no older one than before, and so that the connector works
while the hub's API is away.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from connectors.link import failpoint
from connectors.link.fault import SettingsFault, TrustFault
from contracts.errors import Refusal
from contracts.registry import Registry, check_successor
from contracts.wire.key import PublicKey, Signer
from contracts.wire.signature import VerifiedRoots
from keys.fault import KeyFault, KeyTrouble
from keys.place import open_key

PRIVATE_FILE_MODE = 0o600

_log = structlog.get_logger()


def read_root(path: Path) -> PublicKey:
    """Return the pinned public key of TRUST_ROOT_FILE (a public JWK). Raises SettingsFault."""
    try:
        return PublicKey.from_jwk(json.loads(path.read_bytes()))
    except OSError as error:
        raise SettingsFault(f"TRUST_ROOT_FILE cannot be read ({error.strerror}): put the root's JWK there.") from None
    except (ValueError, TypeError, AttributeError, Refusal):
        raise SettingsFault("TRUST_ROOT_FILE is not a public JWK (Ed25519, P-256): ask the hub's operator.") from None


def read_private_key(path: Path, setting: str) -> Signer:
    """Return what signs with a key, of a PEM file that only its owner may read or of a token. Raises SettingsFault."""
    try:
        return open_key(path)
    except KeyFault as fault:
        hint = ": make one with `hub keys new`" if fault.trouble is KeyTrouble.FILE_UNREADABLE else ""
        raise SettingsFault(f"{setting} {fault}{hint}.") from None


class Trust:
    """The pinned root and the newest registry; never goes back to an older one."""

    def __init__(self, path: Path, root: PublicKey, fetch: Callable[[], Awaitable[bytes]]) -> None:
        """Use the registry kept at `path`, if there is one. Raises TrustFault if the root did not sign it."""
        self._path = path
        self._root = root
        self._fetch = fetch
        self._lock = asyncio.Lock()
        self._document = path.read_bytes() if path.exists() else b""
        self._registry = self._read(self._document, "kept in SPOOL_DIR") if self._document else None
        self.roots = VerifiedRoots()
        self.changed = asyncio.Event()

    @property
    def registry(self) -> Registry:
        """The newest registry. Raises TrustFault before there is one."""
        if self._registry is None:
            raise TrustFault("There is no registry yet: the hub's API was never reached from here.")
        return self._registry

    @property
    def known(self) -> bool:
        """Whether there is a registry."""
        return self._registry is not None

    def _read(self, document: bytes, origin: str) -> Registry:
        try:
            return Registry.read(document, self._root)
        except Refusal as refusal:
            raise TrustFault(
                f"The registry {origin} is refused ({refusal.code}): TRUST_ROOT_FILE is another hub's, or someone"
                " changed the registry."
            ) from None

    async def refresh(self) -> bool:
        """Ask the hub for its registry; keep it if it is newer. Return whether it changed.

        Raises TrustFault for one that the root has not signed or that goes back; HubUnreachable from `fetch`.
        """
        async with self._lock:
            document = await self._fetch()
            if document == self._document:
                return False
            new = self._read(document, "that the hub offers")
            if self._registry is not None:
                self._check_newer(self._registry, new)
            await asyncio.to_thread(self._keep, document)
            self._drop_cached_roots(new)
            self._document, self._registry = document, new
            self.changed.set()
            _log.info("registry applied", version=new.version)
            return True

    @staticmethod
    def _check_newer(old: Registry, new: Registry) -> None:
        try:
            check_successor(old, new)
        except Refusal as refusal:
            raise TrustFault(
                f"The hub offers registry version {new.version} after {old.version}, which is refused ({refusal.code}):"
                " the one that is kept here goes on being used; ask the hub's operator."
            ) from None

    def _keep(self, document: bytes) -> None:
        """Write the registry durably: a torn or forgotten file would let an older registry be believed."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._path.with_name(self._path.name + ".part")
        with part.open("wb") as handle:
            handle.write(document)
            handle.flush()
            os.fsync(handle.fileno())
        failpoint.reach("trust.before_registry_kept")
        part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        failpoint.reach("trust.after_registry_kept")

    def _drop_cached_roots(self, new: Registry) -> None:
        """Forget batch roots that a key signed which is now revoked."""
        for participant in new.participants.values():
            for key in participant.keys:
                if key.revoked_at is not None:
                    self.roots.drop(key.kid)
