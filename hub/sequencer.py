"""The sequencer: leaves, tiles, a signed checkpoint, the witnesses' cosignatures.

The life of a leaf:

    1. intake writes it, in the transaction of the effect that it proves
    2. it goes into the tree: `UPDATE tree SET size = to WHERE size = from`, with the tiles that became whole; committed
    3. a checkpoint over the committed tree is signed and stored
    4. witnesses are asked to cosign it, outside any transaction

Only what is committed is ever signed, and the tree's size is moved by one sequencer at a time, so that two of them
cannot sign two roots of one size. What they could not see is that the database was put back to an older state:
therefore nothing is signed before a witness, or this very process, has seen no more than the tree still holds.
"""

import asyncio
import time
from dataclasses import dataclass

import structlog
from tenacity import RetryCallState

from contracts.log.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from contracts.log.fault import Unproven
from contracts.log.note import Kind, VerifierKey
from contracts.log.proof import check_growth
from contracts.log.tile import Edge, Hashes, consistency_stretches, tiles_for
from contracts.registry import Registry
from contracts.wire.key import Signer
from hub import failpoint, metrics, tracing
from hub.clock import utc_now
from hub.health import Health
from hub.store import outbox, tiles
from hub.store.database import Database
from hub.store.election import SESSION_ERRORS, Election, pause, stand_until
from hub.store.tiles import Superseded
from hub.trust import RegistryInForce
from hub.witnesses import Witnesses, WitnessUnreachable

GROUP = "sequencer"
PART = "sequencer"
LEAVES_MAX = 10_000
# A checkpoint is signed at most this often, however busy the log is: rounds begin no closer together than that.
ROUND_S = 0.05
POLL_S = 1.0
STANDBY_S = 1.0

TRANSIENT = (*SESSION_ERRORS, WitnessUnreachable)

log = structlog.get_logger(__name__)


class LogRefused(Exception):
    """The log must not be signed: it contradicts what was signed before, or the key is not one of its own."""


@dataclass(frozen=True, slots=True)
class LogSigner:
    """The log's private key."""

    key: Signer

    def check(self, registry: Registry) -> None:
        """Raise LogRefused unless the registry names this key as one of the log's."""
        own = VerifierKey.of(registry.log_origin, Kind.ED25519, self.key.public)
        if own not in registry.log.log_keys:
            raise LogRefused(
                f"The registry (version {registry.version}) does not list the key in LOG_KEY_FILE among the log_keys: "
                f"{own.write()}."
            )


class Sequencer:
    """One candidate for the work; of several, one does it and the others stand by."""

    def __init__(
        self,
        database: Database,
        dsn: str,
        registry: RegistryInForce,
        signer: LogSigner,
        witnesses: Witnesses,
        health: Health,
    ) -> None:
        self._database = database
        self._dsn = dsn
        self._registry = registry
        self._signer = signer
        self._witnesses = witnesses
        self._health = health
        self._wake = asyncio.Event()
        self._origin = ""
        # The newest that this process knows to have been signed: what the tree must always contain.
        self._seen: Checkpoint | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Sequence until `stop` is set, through every outage. Raises LogRefused, LeavesMissing, WitnessRefused."""
        await stand_until(stop, self._stand, TRANSIENT, self._report)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        said = str(error) if isinstance(error, WitnessUnreachable) else f"The database fails: {type(error).__name__}."
        if self._health.report(PART, said):
            log.warning("sequencer.retrying", reason=said)

    async def _stand(self, stop: asyncio.Event) -> None:
        """Wait for the lead, then work until `stop` is set or the session is lost (TRANSIENT)."""
        if stop.is_set():
            return
        election = await Election.open(self._dsn, GROUP)
        try:
            while not stop.is_set() and not await election.win(GROUP):
                self._health.clear(PART)
                await pause(stop, STANDBY_S)
            if not stop.is_set():
                await election.listen(outbox.CHANNEL, self._wake.set, deaf_to=outbox.SIGNED)
                await self._lead(election, stop)
        finally:
            await election.close()

    async def _lead(self, election: Election, stop: asyncio.Event) -> None:
        registry = await self._refresh()
        edge = await self._begin(registry)
        cosigning = asyncio.create_task(self._witnesses.run(self._database, self._registry, stop))
        log.info("sequencer.leading", size=edge.size)
        metrics.SEQUENCER_LEADING.set(1)
        try:
            loop, confirmed_s = asyncio.get_running_loop(), 0.0
            while not stop.is_set():
                if loop.time() - confirmed_s >= POLL_S:
                    # A leader that lost its lock while it was frozen stands back, and so does a key that is not listed.
                    await election.confirm()
                    if (await self._refresh()).log_origin != self._origin:
                        raise LogRefused("The registry has put another log in force. Start the sequencer again.")
                    confirmed_s = loop.time()
                began_s = loop.time()
                # What is told from here on may be missed by the round; what was told before is not.
                self._wake.clear()
                edge = await self._advance(edge)
                self._health.clear(PART)
                if cosigning.done():
                    cosigning.result()
                await pause(stop, ROUND_S - (loop.time() - began_s))
                await _first_of(self._wake, stop, POLL_S)
        finally:
            metrics.SEQUENCER_LEADING.set(0)
            cosigning.cancel()
            await asyncio.wait({cosigning})

    async def _refresh(self) -> Registry:
        async with self._database.connection() as connection:
            registry = await self._registry.refresh(connection)
        self._signer.check(registry)
        return registry

    async def _begin(self, registry: Registry) -> Edge:
        """Return the tree's edge once it is certain that the tree holds all that was ever signed of it."""
        known = [self._seen] if self._seen is not None else []
        if not known and registry.log.witnesses:
            known = [seen.checkpoint for seen in await self._witnesses.ask_all(registry)]
        # Read after what is known elsewhere: another sequencer may sign meanwhile, and what it signs is here before.
        async with self._database.connection() as connection:
            stored = await tiles.read_newest(connection)
            size = await tiles.read_size(connection)
            edge = await tiles.read_edge(connection, size)
        if stored is not None:
            known.append(read_checkpoint(stored.note.text))
        if any(checkpoint.size > edge.size for checkpoint in known):
            edge = await self._catch_up(edge)
        for checkpoint in known:
            await self._check_contains(registry, edge, checkpoint)
        self._origin = registry.log_origin
        return edge

    async def _catch_up(self, edge: Edge) -> Edge:
        """Take in the leaves that a copy of the database had and its tree had not yet; nothing is signed of it."""
        try:
            return await self._grow(edge)
        except Superseded:
            async with self._database.connection() as connection:
                return await tiles.read_edge(connection, await tiles.read_size(connection))

    async def _check_contains(self, registry: Registry, edge: Edge, signed: Checkpoint) -> None:
        """Raise LogRefused unless the tree of `edge` contains the tree that was signed."""
        # What the database holds of a log that ended is the beginning of the one that took over from it.
        ended = {one.policy.origin for one in registry.predecessors}
        origin = signed.origin if signed.origin in ended else registry.log_origin
        now = Checkpoint(origin, edge.size, edge.root())
        path: list[bytes] = []
        if 0 < signed.size < now.size:
            stretches = consistency_stretches(signed.size, now.size)
            async with self._database.connection() as connection:
                found = await tiles.read_tiles(connection, tiles_for(stretches, now.size))
            path = Hashes(now.size, found).path(stretches)
        try:
            check_growth(signed, now, path)
        except Unproven as error:
            raise LogRefused(
                f"The log of this database is not what was signed before ({error}). Nothing was signed. "
                "See docs/how-to/backup-and-restore.md."
            ) from None

    async def _advance(self, edge: Edge) -> Edge:
        """Take in what is new and sign it. Returns the edge then; after a lost race, the edge as it really is."""
        try:
            before = edge.size
            with metrics.LOG_ROUND_SECONDS.time():
                edge = await self._grow(edge)
                await self._sign(edge)
            if tracing.is_on() and edge.size > before:
                await self._show(before, edge.size)
        except Superseded:
            log.warning("sequencer.superseded", size=edge.size)
            return await self._begin(await self._refresh())
        return edge

    async def _grow(self, edge: Edge) -> Edge:
        """Put the leaves from `edge.size` on into the tree, each step as one transaction. Raises Superseded."""
        async with self._database.connection() as connection:
            while True:
                leaves = await tiles.read_leaf_hashes(connection, edge.size, LEAVES_MAX)
                if not leaves:
                    return edge
                grown = Edge(edge.levels)
                whole = grown.extend(leaves)
                failpoint.reach("sequencer.before_commit")
                await tiles.advance(connection, edge.size, grown.size, whole)
                failpoint.reach("sequencer.after_commit")
                edge = grown
                metrics.LOG_SIZE.set(edge.size)
                if len(leaves) < LEAVES_MAX:
                    return edge

    async def _show(self, first: int, size: int) -> None:
        """Draw for the messages from index `first` on that a checkpoint of this size was signed just now."""
        signed_ns = time.time_ns()
        async with self._database.connection() as connection:
            entries = await tiles.read_entries(connection, first, min(size - first, LEAVES_MAX))
        tracing.show_signed(entries, size, signed_ns)

    async def _sign(self, edge: Edge) -> None:
        """Sign the tree as it was committed, unless it was signed already."""
        if edge.size == 0 or (self._seen is not None and self._seen.size == edge.size):
            return
        checkpoint = Checkpoint(self._origin, edge.size, edge.root())
        note = sign_checkpoint(checkpoint, self._signer.key)
        failpoint.reach("sequencer.before_checkpoint")
        async with self._database.connection() as connection:
            await tiles.add_checkpoint(connection, checkpoint.size, note, utc_now())
        failpoint.reach("sequencer.after_checkpoint")
        self._seen = checkpoint
        self._witnesses.tell()


async def _first_of(wake: asyncio.Event, stop: asyncio.Event, timeout_s: float) -> None:
    if wake.is_set() or stop.is_set():
        return
    waits = [asyncio.create_task(wake.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
