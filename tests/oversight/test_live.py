"""The whole of it as it runs: hub, sequencer, witness and the log's address, followed and verified from outside."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.oversight.__main__ import main
from connectors.oversight.witness_state import WitnessState
from contracts.audit.pack import write_pack
from contracts.log.checkpoint import Policy
from contracts.log.note import Kind, VerifierKey
from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from hub.audit import Exporter
from hub.health import Health
from hub.publication import publish
from hub.release import Signer
from hub.sequencer import LogSigner, Sequencer
from hub.store import outbox, tiles
from hub.trust import RegistryInForce
from hub.web import log, probes, server
from hub.witnesses import Witnesses
from tests.hub.exchange import APPLICATION, ORIGIN, Exchange
from tests.hub.log_bench import NAME, WitnessProcess, until


@dataclass
class Live:
    """A running log of an exchange in which one recommendation was issued, and the oversight body's folder."""

    exchange: Exchange
    folder: Path
    address: str
    witness: VerifierKey

    def trust(self) -> list[str]:
        """The options that say whom to believe."""
        names = {"--root": "root.jwk.json", "--log-key": "log.vkey", "--witness-key": "witness.vkey"}
        return [word for option, name in names.items() for word in (option, str(self.folder / name))]

    async def covered(self) -> None:
        """Wait until the witness has cosigned a checkpoint of everything."""

        async def look() -> bool:
            async with self.exchange.database.connection() as connection:
                found = await tiles.read_cosigned(connection, [self.witness.write()], 1)
                return found is not None and found.size == await connection.fetchval("SELECT next_index FROM log")

        await until(look)

    async def export(self) -> Path:
        """Let the operator export the case into the folder."""
        async with self.exchange.database.snapshot() as connection:
            exporter = await Exporter.open(connection, self.exchange.root.public, datetime.now(UTC))
            pack = await exporter.export(APPLICATION)
        assert pack is not None
        path = self.folder / "packs" / "pack.json"
        path.write_bytes(write_pack(pack))
        return path

    async def run(self, *words: str) -> int:
        """Run one of the oversight body's commands."""
        return await asyncio.to_thread(main, words)


async def sign_recommendations(exchange: Exchange) -> None:
    """Sign what the relay would sign."""
    async with exchange.database.transaction() as tx:
        document = await tx.fetchval("SELECT document FROM registry ORDER BY version DESC LIMIT 1")
        signer = Signer(exchange.hub)
        signer.use(Registry.read(document.encode(), exchange.root.public))
        rows = await outbox.read_streams(tx, "recommendations", {0: 0}, 100)
        await signer.sign_streams(tx, "recommendations", rows)


@pytest.fixture
async def live(database: str, tmp_path: Path) -> AsyncIterator[Live]:
    """Run the log, its witness and its address."""
    exchange = await Exchange.open(database)
    log_key, witness_key = PrivateKey.generate("Ed25519"), PrivateKey.generate("Ed25519")
    log_vkey = VerifierKey.of(ORIGIN, Kind.ED25519, log_key.public)
    witness_vkey = VerifierKey.of(NAME, Kind.COSIGNATURE_V1, witness_key.public)
    named = {"log_keys": [log_vkey.write()], "witnesses": [witness_vkey.write()], "witness_quorum": 1}
    await exchange.register({"settings": named, "participants": exchange.participants()})
    ministry, bri = exchange.ministry, exchange.bri
    await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.billed(), ministry.approved()]))
    await exchange.take(bri.sign(bri.paid()))
    await sign_recommendations(exchange)
    witness = WitnessProcess(
        witness_key, WitnessState(tmp_path / "witness.sqlite"), {ORIGIN: Policy(ORIGIN, (log_vkey,))}
    )
    witness.start()
    in_force = RegistryInForce(exchange.root.public)
    sequencer = Sequencer(exchange.database, database, in_force, LogSigner(log_key), Witnesses([witness.url]), Health())
    listener, stop = server.bind("127.0.0.1", 0), asyncio.Event()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = probes.create_app(Health(), log.create_router(exchange.database, RegistryInForce(exchange.root.public)))
    running = [
        asyncio.create_task(sequencer.run(stop)),
        asyncio.create_task(server.serve(app, listener, "api", stop)),
    ]
    (tmp_path / "root.jwk.json").write_text(json.dumps(exchange.root.public.jwk))
    (tmp_path / "log.vkey").write_text(log_vkey.write())
    (tmp_path / "witness.vkey").write_text(witness_vkey.write())
    (tmp_path / "packs").mkdir()
    yield Live(exchange, tmp_path, address, witness_vkey)
    stop.set()
    await asyncio.gather(*running)
    witness.stop()
    witness.state.close()
    await exchange.database.close()


async def test_the_hub_s_own_log_is_followed_and_its_recommendation_verified(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    await live.covered()
    pack = await live.export()
    monitor = ["monitor", live.address, *live.trust(), "--state", str(live.folder / "monitor.sqlite"), "--once"]
    monitor += ["--packs", str(live.folder / "packs")]
    assert await live.run("verify", str(pack), *live.trust()) == 0
    assert "Result: proven." in capsys.readouterr().out
    assert await live.run(*monitor) == 0, capsys.readouterr().out
    assert await live.run(*monitor) == 0
    assert ", 0 new." in capsys.readouterr().err
    # More than a bundle, so that the whole and the partial one are read.
    bri = live.exchange.bri
    for number in range(4):
        codes = [f"{number}{place:014d}" for place in range(75)]
        await live.exchange.take(*bri.sign_all([bri.paid(code) for code in codes[:60]]))
    await live.covered()
    assert await live.run(*monitor) == 0, capsys.readouterr().out
    assert ", 240 new." in capsys.readouterr().err
    # From a folder that it was published to, the same.
    async with live.exchange.database.snapshot() as connection:
        await publish(
            connection, await RegistryInForce(live.exchange.root.public).refresh(connection), live.folder / "log"
        )
    elsewhere = [str(live.folder / "log") if word == live.address else word for word in monitor]
    assert await live.run(*elsewhere) == 0, capsys.readouterr().out
    assert ", 0 new." in capsys.readouterr().err
    # An operator edits one entry behind the log's back: who comes new finds that it does not give the signed root.
    async with live.exchange.database.transaction() as tx:
        await tx.execute("ALTER TABLE leaves DISABLE TRIGGER leaves_are_final")
        await tx.execute("UPDATE leaves SET entry = entry || '\\x20' WHERE log_index = 7")
    fresh = [word.replace("monitor.sqlite", "fresh.sqlite") for word in monitor]
    assert await live.run(*fresh) == 1
    assert "ALARM [consistency_invalid]" in capsys.readouterr().out
