"""An exchange whose log has a checkpoint, as the relay and the sequencer would leave it, and what an auditor trusts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.audit.pack import Pack, read_pack, write_pack
from contracts.audit.verify import Trust
from contracts.log.checkpoint import Checkpoint, Policy, sign_checkpoint
from contracts.log.note import Kind, VerifierKey
from contracts.merkle import leaf_hash
from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from hub.audit import Exporter
from hub.release import Signer
from hub.store import outbox, tiles
from tests.hub.exchange import APPLICATION, ORIGIN, Exchange


@dataclass
class Watched:
    """An exchange whose recommendations are signed and whose log has a checkpoint over everything."""

    exchange: Exchange
    log: PrivateKey

    async def sign(self) -> None:
        """Sign what the relay would sign, and let the log say how large it is."""
        async with self.exchange.database.transaction() as tx:
            (document,) = await tx.fetch("SELECT document FROM registry ORDER BY version DESC LIMIT 1")
            signer = Signer(self.exchange.hub)
            signer.use(Registry.read(document["document"].encode(), self.exchange.root.public))
            rows = await outbox.read_streams(tx, "recommendations", {0: 0}, 100)
            await signer.sign_streams(tx, "recommendations", rows)
            size, to = await tiles.read_size(tx), await tx.fetchval("SELECT count(*) FROM leaves")
            edge = await tiles.read_edge(tx, size)
            whole = edge.extend(map(leaf_hash, await tiles.read_entries(tx, size, to)))
            await tiles.advance(tx, size, to, whole)
            note = sign_checkpoint(Checkpoint(ORIGIN, to, edge.root()), self.log)
            await tiles.add_checkpoint(tx, to, note, datetime.now(UTC))

    async def export(self, subject: str = APPLICATION) -> Pack:
        """Export a case, through the file's form and back."""
        async with self.exchange.database.snapshot() as connection:
            exporter = await Exporter.open(connection, self.exchange.root.public, datetime.now(UTC))
            pack = await exporter.export(subject)
            # What was gathered for all is what would have been looked up for one.
            assert await exporter.export(subject, await exporter.gather_claims()) == pack
        assert pack is not None
        return read_pack(write_pack(pack))

    def trust(self) -> Trust:
        """What the oversight body trusts; no witness is asked for here."""
        policy = Policy(ORIGIN, (VerifierKey.of(ORIGIN, Kind.ED25519, self.log.public),))
        return Trust(self.exchange.root.public, policy, datetime.now(UTC) + timedelta(minutes=1))
