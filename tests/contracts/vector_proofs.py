"""Vectors of the proof with which a recommendation shows that it is in the evidence log of the registry."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from contracts import merkle
from contracts.log import entry
from contracts.log.checkpoint import Checkpoint, sign_checkpoint
from contracts.log.note import Kind, Note, VerifierKey, cosign_text
from contracts.log.proof import Proof
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from tests.contracts import vector_world as world
from tests.contracts.vector_signatures import vector
from tests.contracts.vector_world import NOW, Json

ORIGIN = "hub.example/demo"
WITNESS = "kpk.example/witness"
LOG_KEY, WITNESS_KEY = world.ed25519_key("log"), world.ed25519_key("witness")
STRANGER = world.ed25519_key("another log")
VALUE = world.recommendation_value()
# Ours stands among others, at a place whose path has hashes of either side and of more than one level.
INDEX = 2
ENTRIES = [f'{{"kind":"timer","n":{number}}}'.encode() for number in range(5)]
ENTRIES[INDEX] = entry.recommendation_of(read_envelope(VALUE))


def registry() -> Json:
    """Make the registry document that asks for a proof, with the log's key and a witness that must have cosigned."""
    return world.document() | {
        "version": 8, "proof_required": True, "log_origin": ORIGIN,
        "log_keys": [VerifierKey.of(ORIGIN, Kind.ED25519, LOG_KEY.public).write()],
        "witnesses": [VerifierKey.of(WITNESS, Kind.COSIGNATURE_V1, WITNESS_KEY.public).write()],
        "witness_quorum": 1,
    }  # fmt: skip


def _signed(entries: Sequence[bytes] = ENTRIES, origin: str = ORIGIN, key: PrivateKey = LOG_KEY) -> Note:
    return sign_checkpoint(Checkpoint(origin, len(entries), merkle.root(list(map(merkle.leaf_hash, entries)))), key)


def _cosigned(note: Note, witness: str = WITNESS, key: PrivateKey = WITNESS_KEY) -> bytes:
    return note.with_signatures([cosign_text(note.text, witness, key, int(NOW.timestamp()))]).write()


def _proof(index: int = INDEX, entries: Sequence[bytes] = ENTRIES) -> Proof:
    path = merkle.inclusion_path(list(map(merkle.leaf_hash, entries)), index)
    return Proof(index, tuple(path), _cosigned(_signed(entries)))


GOOD = _proof()


def got(name: str, proof: Proof | bytes, code: str | None = "proof_invalid", why: str = "") -> Json:
    """Make a vector of our recommendation with this proof."""
    text = (proof if isinstance(proof, bytes) else proof.write()).decode()
    jws = world.recommendation_jws(VALUE)
    headers = [["content-type", world.CONTENT_TYPE], ["jws", jws], ["hub-seq", "1"], ["tlog-proof", text]]
    expect = "accept" if code is None else "refuse"
    record = world.record(VALUE, None, headers=headers, topic="recommendations", expect=expect, code=code)
    return vector(f"proof: {name}", why, record, registry="proof required")


def accepted() -> Iterator[Json]:
    """What the log, its witness and the path vouch for, however much stands beside it."""
    yield got("as it should be", GOOD, None)
    yield got("of a log that has grown", _proof(entries=[*ENTRIES, b"{}", b"{}"]), None, "any later checkpoint will do")
    yield got("of a log that ends with it", _proof(entries=ENTRIES[: INDEX + 1]), None)
    yield got("with an extra line", replace(GOOD, extra=b"anything"), None, "signed by nobody, and nothing rests on it")
    stranger = cosign_text(_signed().text, "other.example/witness", STRANGER, int(NOW.timestamp()))
    beside = replace(GOOD, checkpoint=GOOD.checkpoint + stranger.write().encode())
    yield got("with the cosignature of a stranger beside", beside, None, "an unknown key says nothing")


def wrong_paths() -> Iterator[Json]:
    """The path does not lead from this entry at its index to the root."""
    first, *rest = GOOD.path
    changed = bytes([first[0] ^ 1]) + first[1:]
    yield got("of another entry", _proof(INDEX + 1), why="a genuine proof, of something else")
    yield got("wrong index", replace(GOOD, index=INDEX + 1))
    yield got("index behind the log's end", replace(GOOD, index=len(ENTRIES)))
    yield got("path cut short", replace(GOOD, path=GOOD.path[:-1]))
    yield got("no path", replace(GOOD, path=()))
    yield got("path with a hash more", replace(GOOD, path=(*GOOD.path, first)))
    yield got("path in another order", replace(GOOD, path=GOOD.path[::-1]))
    yield got("one bit of the path changed", replace(GOOD, path=(changed, *rest)))
    before = replace(GOOD, checkpoint=_cosigned(_signed(ENTRIES[:INDEX])))
    yield got("checkpoint from before it", before, why="the log did not hold it then")


def wrong_checkpoints() -> Iterator[Json]:
    """The checkpoint is not the log's, or not as many have seen it as must."""
    yield got("of a log under another key", replace(GOOD, checkpoint=_cosigned(_signed(key=STRANGER))))
    yield got("of another log", replace(GOOD, checkpoint=_cosigned(_signed(origin="hub.example/other"))))
    alone = replace(GOOD, checkpoint=_signed().write())
    yield got("no witness has cosigned", alone, why="the log may show another one to others")
    pretended = replace(GOOD, checkpoint=_cosigned(_signed(), key=STRANGER))
    yield got("cosigned by a stranger in the witness' name", pretended)
    note = _signed()
    cosigned = cosign_text(note.text, WITNESS, WITNESS_KEY, int(NOW.timestamp()))
    # The first byte behind the key's id is the cosignature's time.
    broken = cosigned._replace(signature=bytes([cosigned.signature[0] ^ 1]) + cosigned.signature[1:])
    yield got("a cosignature dated otherwise", replace(GOOD, checkpoint=note.with_signatures([broken]).write()))
    other = merkle.root([merkle.leaf_hash(b"other")])
    forged = note.write().replace(note.text.encode(), Checkpoint(ORIGIN, len(ENTRIES), other).write().encode())
    yield got("another root under the same signature", replace(GOOD, checkpoint=forged))


def malformed() -> Iterator[Json]:
    """It is spelled in no other way than one."""
    whole = GOOD.write()
    line = f"index {INDEX}\n".encode()
    yield got("nothing but its first line", b"c2sp.org/tlog-proof@v1\n")
    yield got("of another version", whole.replace(b"@v1", b"@v2", 1))
    yield got("no index", whole.replace(line, b"", 1))
    yield got("index with a zero before it", whole.replace(line, f"index 0{INDEX}\n".encode(), 1))
    yield got("index below zero", whole.replace(line, b"index -1\n", 1))
    yield got("lines ended as in a text of Windows", whole.replace(b"\n", b"\r\n"))
    yield got("a hash without its padding", whole.replace(b"=\n", b"\n", 1))
    yield got("no checkpoint", whole.partition(b"\n\n")[0] + b"\n\n")
