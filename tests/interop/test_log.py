"""Public tools for transparency logs verify ours whole: Go's golang.org/x/mod/sumdb, and Tessera's fsck.

One log is large and made by the pure functions; the other is the running exchange's, as served and as published, and
cosigned by the witness of transparency-dev.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from connectors.oversight.witness import Witness
from connectors.oversight.witness_door import Desk, WitnessServer, utc_now
from connectors.oversight.witness_state import WitnessState
from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Policy, sign_checkpoint
from contracts.log.entry import recommendation_of
from contracts.log.note import Kind, VerifierKey, cosign_text
from contracts.log.tile import ENTRIES, Edge, Tile, new_tiles, write_bundle
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey, PublicKey
from tests.contracts.vector_world import NOW, ed25519_key
from tests.faults.exchange import Exchange
from tests.faults.observation import POLL_MS
from tests.interop.jose import Question, ask, run_program

ORIGIN = "hub.example/large"
WITNESS = "kpk.example/witness"
OUR_WITNESS = "ours.example/witness"
ENTRIES_COUNT = 70_000
# Inside a tile, at its edge, over two levels, one less than all.
EARLIER = (1, 255, 256, 257, 65_535, 65_536, 65_537, ENTRIES_COUNT - 1)
REQUEST_LIMIT_S = 10.0


class Written(NamedTuple):
    """A log in a folder, its checkpoints before, and its keys in text form."""

    folder: Path
    older: list[str]
    log_key: str
    witness: str

    def question(self) -> dict[str, Any]:
        """Return what verifylog is asked about it."""
        keys = {"log_key": self.log_key, "witnesses": [self.witness]}
        return {"url": self.folder.as_uri(), "older": self.older, "proofs": [], **keys}


def entry_of(index: int) -> bytes:
    """Entries of any length, empty to long."""
    return b"" if index == 3 else f'{{"n":{index}}}'.encode() * (index % 5 + 1)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Write a log of 70,000 entries with `contracts` alone."""
    folder = tmp_path_factory.mktemp("large")
    log_key, witness_key = ed25519_key("interop log"), ed25519_key("interop witness")
    entries = [entry_of(index) for index in range(ENTRIES_COUNT)]
    edge, older, tiles = Edge(), [], dict[Tile, bytes]()
    for size in (*EARLIER, ENTRIES_COUNT):
        tiles.update(edge.extend(map(merkle.leaf_hash, entries[edge.size : size])))
        older.append(cosigned(edge, log_key, witness_key))
    for tile in new_tiles(0, ENTRIES_COUNT):
        if tile.level == ENTRIES:
            data = write_bundle(entries[tile.first : tile.first + tile.width])
        else:
            data = tiles.get(tile) or b"".join(edge.levels[tile.level])
        file = folder / tile.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (folder / "checkpoint").write_text(older.pop())
    return Written(
        folder,
        older,
        VerifierKey.of(ORIGIN, Kind.ED25519, log_key.public).write(),
        VerifierKey.of(WITNESS, Kind.COSIGNATURE_V1, witness_key.public).write(),
    )


def cosigned(edge: Edge, log_key: PrivateKey, witness_key: PrivateKey) -> str:
    note = sign_checkpoint(Checkpoint(ORIGIN, edge.size, edge.root()), log_key)
    line = cosign_text(note.text, WITNESS, witness_key, int(NOW.timestamp()))
    return note.with_signatures([line]).write().decode()


@pytest.fixture(scope="session")
def verifylog(go_programs: Path) -> list[str]:
    """Give the command that verifies a log with other people's code."""
    return [str(go_programs / "verifylog")]


@pytest.mark.needs("go")
def test_a_large_log_is_verified_whole(large: Written, verifylog: list[str]) -> None:
    told = run_program(verifylog, large.question())
    tiles = sum(tile.level != ENTRIES for tile in new_tiles(0, ENTRIES_COUNT))
    assert told == {"size": ENTRIES_COUNT, "tiles": tiles, "included": told["included"], "grown": len(EARLIER)} | {
        "cosigned": 1,
        "proofs": 0,
        "fed": 0,
    }
    assert told["included"] >= 500


@pytest.fixture
def our_witness(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run our own witness of the large log; give its address and key as verifylog takes them."""
    key, log_key = ed25519_key("our witness"), ed25519_key("interop log")
    logs = {ORIGIN: Policy(ORIGIN, (VerifierKey.of(ORIGIN, Kind.ED25519, log_key.public),))}
    state = WitnessState(tmp_path / "witness.db")
    server = WitnessServer("127.0.0.1", 0, Desk(Witness(OUR_WITNESS, key, logs), state, utc_now))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    verifier = VerifierKey.of(OUR_WITNESS, Kind.COSIGNATURE_V1, key.public)
    yield {"url": f"http://127.0.0.1:{server.server_port}", "witness": verifier.write()}
    server.shutdown()
    thread.join()
    server.server_close()
    state.close()


@pytest.mark.needs("go")
def test_another_project_s_client_has_our_witness_cosign_a_log_that_grows(
    large: Written, verifylog: list[str], our_witness: dict[str, str]
) -> None:
    asked = large.question() | {"feed": our_witness}
    assert run_program(verifylog, asked)["fed"] == len(EARLIER) + 1
    # It remembers: the same client, beginning anew, is told that the log is further.
    with pytest.raises(AssertionError, match="the witness about size 1"):
        run_program(verifylog, asked)


BROKEN = {
    "tile/entries/100": "the entries' root is",
    "tile/0/000": "tile/0/000 is not made of the entries",
    "tile/1/000": "tile/1/000 is not made of the entries",
    "tile/2/000.p/1": "tile/2/000.p/1 is not made of the entries",
    "checkpoint": "checkpoint: invalid signature",
}


@pytest.fixture(params=BROKEN)
def broken(large: Written, request: pytest.FixtureRequest) -> Iterator[str]:
    """Change one byte in one file of the large log, give its name, and put it back."""
    file = large.folder / request.param
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] + bytes((whole[-9] ^ 1,)) + whole[-8:])
    yield request.param
    file.write_bytes(whole)


@pytest.mark.needs("go")
def test_one_changed_byte_anywhere_is_refused(large: Written, broken: str, verifylog: list[str]) -> None:
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        run_program(verifylog, large.question())


@pytest.mark.needs("go")
def test_another_past_or_key_is_refused(large: Written, verifylog: list[str]) -> None:
    stranger = ed25519_key("stranger")
    forked = Edge()
    forked.extend(merkle.leaf_hash(b"another") for _ in range(1_000))
    past = cosigned(forked, ed25519_key("interop log"), stranger)
    with pytest.raises(AssertionError, match="from size 1000"):
        run_program(verifylog, large.question() | {"older": [past]})
    foreign = VerifierKey.of(ORIGIN, Kind.ED25519, stranger.public).write()
    with pytest.raises(AssertionError, match="checkpoint"):
        run_program(verifylog, large.question() | {"log_key": foreign})


class Recommended(NamedTuple):
    """A recommendation as it stands on Kafka."""

    value: bytes
    jws: str
    proof: str

    @property
    def entry(self) -> str:
        """The entry that the hub must have written for it."""
        return recommendation_of(read_envelope(self.value)).decode()


async def read_recommendations(exchange: Exchange, count: int) -> list[Recommended]:
    """Read the records of the topic, as any recipient does, until there are so many."""
    topic = exchange.rig.cast.services.topic_prefix + "recommendations"
    found: list[Recommended] = []
    async with exchange.observer.consume() as consumer:
        consumer.subscribe([topic])
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    headers = dict(record.headers)
                    found.append(Recommended(record.value, headers["jws"].decode(), headers["tlog-proof"].decode()))
    return found


class Shown(NamedTuple):
    """What an exchange showed of its log: checkpoints from small to large, and recommendations with their proofs."""

    exchange: Exchange
    older: list[str]
    recommended: list[Recommended]

    def question(self, url: str) -> dict[str, Any]:
        """Return what verifylog is asked about the log at `url`."""
        folder = self.exchange.rig.cast.folder
        keys = {name: (folder / f"{name}.vkey").read_text().strip() for name in ("log", "witness")}
        proofs = [{"entry": one.entry, "proof": one.proof} for one in self.recommended]
        asked = {"log_key": keys["log"], "witnesses": [keys["witness"]]}
        return {"url": url, "older": self.older, "proofs": proofs, **asked}


@pytest.fixture(scope="session")
def shown(exchange: Exchange) -> Shown:
    """Let the exchange work, and note what it shows between."""
    older: list[str] = []
    for _ in range(3):
        exchange.settle(exchange.natives.tell(exchange.natives.deal(4)))
        answer = httpx.get(exchange.rig.url("hub-api") + "/checkpoint", timeout=REQUEST_LIMIT_S)
        older.append(answer.raise_for_status().text)
    count = len(exchange.natives.books.applications)
    return Shown(exchange, older, exchange.background.run(read_recommendations(exchange, count)))


@pytest.mark.needs("go")
def test_the_exchange_s_log_is_verified_as_served_and_as_published(
    shown: Shown, verifylog: list[str], tmp_path: Path
) -> None:
    served = run_program(verifylog, shown.question(shown.exchange.rig.url("hub-api")))
    shown.exchange.rig.must_run_hub("log", "publish", str(tmp_path / "log"))
    published = run_program(verifylog, shown.question((tmp_path / "log").as_uri()))
    for told in (served, published):
        assert told["size"] >= 3 * 4 * 3
        assert told["grown"] == len(shown.older)
        assert told["cosigned"] == 1
        assert told["proofs"] == len(shown.recommended) >= 12
    assert published["size"] >= served["size"]


def test_their_libraries_accept_the_exchange_s_recommendations(shown: Shown, library: list[str]) -> None:
    key = shown.exchange.rig.cast.message_keys["hub"]
    question = Question()
    for one in shown.recommended:
        question.add_jws(one.proof, PublicKey.from_jwk(key.jwk), one.jws, one.value)
    assert set(ask(library, question).verified.values()) == {key.kid}
