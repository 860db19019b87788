"""The witnesses of the log, asked over HTTP: what they saw last, and their cosignature under a new checkpoint.

Source: https://c2sp.org/tlog-witness. Nothing here holds a transaction, and nobody waits for a witness but whoever asks
what it saw last. What a witness answers counts only as far as its signatures verify under the registry's keys.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import structlog

from contracts.log.checkpoint import CLOCK_SKEW_S, Opened, Policy, open_checkpoint, read_checkpoint, read_size
from contracts.log.fault import Fault, Unproven
from contracts.log.note import Note, VerifierKey, encode_base64, read_signatures, signatures_of, timestamp_of
from contracts.log.tile import Hashes, consistency_stretches, tiles_for
from contracts.registry import Registry
from hub import failpoint, metrics
from hub.clock import utc_now
from hub.store import tiles
from hub.store.database import TRANSIENT, Database
from hub.store.tiles import StoredCheckpoint

if TYPE_CHECKING:
    from hub.trust import RegistryInForce

REQUEST_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 65_536
# A busy log is cosigned this often, or where recommendations wait for it oftener; checkpoints between are covered too.
PAUSE_S = 1.0
PAUSE_FOR_QUORUM_S = 0.1
RETRY_S = 1.0
# A witness that saw something newer than was read meanwhile is asked again at once, but not without end.
TRIES_MAX = 3

log = structlog.get_logger(__name__)


class WitnessUnreachable(Exception):
    """No witness says what it saw last."""


class WitnessRefused(Exception):
    """A witness holds a checkpoint of this log that the database has not: it was put back to an older state."""


class Witness:
    """One witness at its address."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url.rstrip("/")
        self._client = client
        # The size that this witness cosigned last, as far as is known here.
        self._last_size = 0

    async def ask(self, policy: Policy) -> Opened | None:
        """Return what it saw last; None if it never saw this log. Raises httpx.HTTPError, Unproven."""
        origin = hashlib.sha256(policy.origin.encode()).hexdigest()
        answer = await self._client.get(f"{self.url}/{origin}/checkpoint")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        # Any of the registry's witnesses may have cosigned it; the log itself must have signed it.
        opened = open_checkpoint(answer.content, replace(policy, quorum=0))
        self._last_size = opened.checkpoint.size
        return opened

    async def submit(self, database: Database, newest: StoredCheckpoint, registry: Registry) -> bool:
        """Ask for a cosignature and keep it; return whether there is one now.

        Raises httpx.HTTPError, Unproven, WitnessRefused.
        """
        for _ in range(TRIES_MAX):
            body = await self._write_request(database, newest)
            answer = await self._client.post(f"{self.url}/add-checkpoint", content=body)
            if answer.status_code == httpx.codes.CONFLICT:
                self._last_size = read_size(answer.text.removesuffix("\n")) or 0
                if self._last_size > newest.size:
                    await self._check_newer(database, registry.log)
                    return False
                continue
            answer.raise_for_status()
            await self._keep(database, newest, registry, answer.content)
            self._last_size = newest.size
            return True
        return False

    async def _write_request(self, database: Database, newest: StoredCheckpoint) -> bytes:
        path: list[bytes] = []
        if 0 < self._last_size < newest.size:
            stretches = consistency_stretches(self._last_size, newest.size)
            async with database.connection() as connection:
                found = await tiles.read_tiles(connection, tiles_for(stretches, newest.size))
            path = Hashes(newest.size, found).path(stretches)
        lines = [f"old {min(self._last_size, newest.size)}", *map(encode_base64, path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + newest.note.write()

    async def _keep(self, database: Database, newest: StoredCheckpoint, registry: Registry, answer: bytes) -> None:
        """Store the cosignatures of an answer that verify. Raises Unproven if there is none of a known witness."""
        lines = read_signatures(answer[:ANSWER_BYTES_MAX].decode(errors="replace"))
        kept = 0
        failpoint.reach("sequencer.before_cosignature")
        for witness in registry.log.witnesses:
            for line in lines:
                if _is_timely(newest.note._replace(signatures=(line,)), witness):
                    async with database.connection() as connection:
                        await tiles.add_cosignature(connection, newest.size, witness.write(), line)
                    metrics.LOG_COSIGNED_SIZE.labels(witness.name).set(newest.size)
                    kept += 1
        failpoint.reach("sequencer.after_cosignature")
        if not kept:
            raise Unproven(Fault.QUORUM_MISSING, "no cosignature of a witness in the registry, of about this time")

    async def _check_newer(self, database: Database, policy: Policy) -> None:
        """Raise WitnessRefused if the log did sign more than the database holds."""
        seen = await self.ask(policy)
        async with database.connection() as connection:
            held = await tiles.read_newest(connection)
        if seen is not None and held is not None and seen.checkpoint.size > held.size:
            raise WitnessRefused(
                f"The witness at {self.url} holds this log's own checkpoint of size {seen.checkpoint.size}, the "
                f"database's newest is of size {held.size}: this database is older. Nothing more is signed. "
                "See docs/how-to/backup-and-restore.md."
            )


def _is_timely(note: Note, witness: VerifierKey) -> bool:
    """Whether `witness` cosigned this note at about this time. Raises Unproven(signature_invalid)."""
    now_s = utc_now().timestamp()
    times = [timestamp_of(signature) for signature in signatures_of(note, witness)]
    return any(abs(time - now_s) <= CLOCK_SKEW_S for time in times)


class Witnesses:
    """All witnesses that this hub asks."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._urls = tuple(urls)
        self._news = asyncio.Event()

    def tell(self) -> None:
        """Say that there is a new checkpoint."""
        self._news.set()

    async def ask_all(self, registry: Registry) -> list[Opened]:
        """Return what each witness that answers saw last; one that never saw this log gives nothing.

        Raises WitnessUnreachable if none answers.
        """
        found: list[Opened] = []
        answered = False
        async with _open_client() as client:
            for url in self._urls:
                try:
                    seen = await Witness(url, client).ask(registry.log)
                except (httpx.HTTPError, Unproven) as error:
                    log.warning("witness.silent", url=url, reason=type(error).__name__)
                    continue
                answered = True
                found += [] if seen is None else [seen]
        if not answered:
            raise WitnessUnreachable(
                "No witness in WITNESS_URLS says what it saw of this log last. Nothing is signed before one does: this "
                "database might be an older copy."
            )
        return found

    async def run(self, database: Database, in_force: "RegistryInForce", stop: asyncio.Event) -> None:
        """Have each new checkpoint cosigned until `stop` is set. Raises WitnessRefused."""
        async with _open_client() as client:
            pending = {Witness(url, client): 0 for url in self._urls}
            while pending and not stop.is_set():
                try:
                    async with asyncio.timeout(RETRY_S):
                        await self._news.wait()
                except TimeoutError:
                    # A witness that was away is tried again without news.
                    pass
                self._news.clear()
                await asyncio.sleep(await self._round(database, in_force, pending))

    async def _round(self, database: Database, in_force: "RegistryInForce", cosigned: dict[Witness, int]) -> float:
        """Submit the newest checkpoint to every witness that has not cosigned it yet; return how long to rest then."""
        try:
            async with database.connection() as connection:
                newest = await tiles.read_newest(connection)
                registry = await in_force.refresh(connection)
            if newest is None or read_checkpoint(newest.note.text).origin != registry.log_origin:
                return PAUSE_FOR_QUORUM_S
            behind = [witness for witness, size in cosigned.items() if size < newest.size]
            asked = [_submit(witness, database, newest, registry) for witness in behind]
            for witness, done in zip(behind, await asyncio.gather(*asked), strict=True):
                if done:
                    cosigned[witness] = newest.size
        except TRANSIENT as error:
            log.warning("witness.database_unreachable", reason=type(error).__name__)
            return PAUSE_S
        return PAUSE_FOR_QUORUM_S if registry.log.quorum else PAUSE_S


async def _submit(witness: Witness, database: Database, newest: StoredCheckpoint, registry: Registry) -> bool:
    try:
        return await witness.submit(database, newest, registry)
    except (httpx.HTTPError, Unproven) as error:
        # No reason to be unready: what must wait for a witness says so itself, once it waits too long.
        metrics.LOG_WITNESS_FAILURES.labels(witness.url).inc()
        log.warning("witness.failing", url=witness.url, reason=_describe(error))
        return False


def _describe(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"It answers {error.response.status_code}."
    return str(error) if isinstance(error, Unproven) else f"It does not answer: {type(error).__name__}."


def _open_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, follow_redirects=False, trust_env=False)
