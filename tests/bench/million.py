"""A log of a million leaves: a proof out of its tiles, and a monitor that follows entries from a folder.

python -m tests.bench.million           a million leaves; the monitor follows 200,000 entries
python -m tests.bench.million --small   a hundredth of that
"""

import json
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from connectors.oversight.log_source import LogSource
from connectors.oversight.monitor import Monitor
from connectors.oversight.monitor_state import MonitorState
from contracts import merkle
from contracts.audit.verify import Trust
from contracts.log import entry
from contracts.log.checkpoint import Checkpoint, Policy, sign_checkpoint
from contracts.log.note import Kind, VerifierKey
from contracts.log.proof import Proof, check_proof
from contracts.log.tile import ENTRIES, Edge, Hashes, Tile, inclusion_stretches, new_tiles, tiles_for, write_bundle
from contracts.wire.key import PrivateKey
from tests.bench.figures import find_percentile
from tests.bench.installation import BenchFailed

LEAVES = 1_000_000
FOLLOWED = 200_000
SMALL_TIMES = 100
PROOFS = 1_000
ORIGIN = "hub.example/million"
KID = "k" * 43
HOUR_S = 3_600


def write_entry(number: int) -> bytes:
    """Return an entry as intake writes one for a message; the first lets its key in."""
    if number == 0:
        return entry.key_added(participant="ministry", kid=KID, use="message")
    return entry.accepted(
        source="https://ministry.example/tka",
        id=f"{number:036d}",
        type="id.tka.ministry.permit.approved.v1",
        digest=sha256(b"%d" % number).digest(),
        kid=KID,
        sig="s" * 86,
        received_at=datetime(2026, 3, 2, tzinfo=UTC),
    )


def grow(leaves: int) -> tuple[Edge, dict[Tile, bytes]]:
    """Return a tree's edge and all its tiles, those that are not whole too."""
    edge, tiles = Edge(), dict[Tile, bytes]()
    tiles.update(edge.extend(merkle.leaf_hash(b"%d" % number) for number in range(leaves)))
    for level, hashes in enumerate(edge.levels):
        if hashes:
            tiles[Tile(level, leaves >> (8 * (level + 1)), len(hashes))] = b"".join(hashes)
    return edge, tiles


def measure_proofs(leaves: int) -> dict[str, Any]:
    """Take proofs of leaves at random places out of the tiles, each checked. Raises Unproven."""
    key = PrivateKey.generate("Ed25519")
    edge, tiles = grow(leaves)
    note = sign_checkpoint(Checkpoint(ORIGIN, leaves, edge.root()), key)
    written, policy = note.write(), Policy(ORIGIN, (VerifierKey.of(ORIGIN, Kind.ED25519, key.public),))
    dice, taken, used = random.Random(2012), [], []
    for _ in range(PROOFS):
        index = dice.randrange(leaves)
        began, busy = time.perf_counter(), time.thread_time()
        stretches = inclusion_stretches(index, leaves)
        found = {tile: tiles[tile] for tile in tiles_for(stretches, leaves)}
        proof = Proof(index, tuple(Hashes(leaves, found).path(stretches)), written).write()
        taken.append(time.perf_counter() - began)
        used.append(time.thread_time() - busy)
        check_proof(proof, b"%d" % index, policy, index=index)
    return {"leaves": leaves, "proofs": PROOFS, "p99_cpu_ms": find_percentile(used, 0.99) * 1_000} | {
        name: find_percentile(taken, share) * 1_000
        for name, share in {"p50_ms": 0.5, "p99_ms": 0.99, "longest_ms": 1.0}.items()
    }


def measure_monitor(leaves: int, folder: Path) -> dict[str, Any]:
    """Let a monitor follow a log that was published to a folder. Raises BenchFailed."""
    key, entries = PrivateKey.generate("Ed25519"), [write_entry(number) for number in range(leaves)]
    edge = Edge()
    edge.extend(map(merkle.leaf_hash, entries))
    for tile in new_tiles(0, leaves):
        if tile.level == ENTRIES:
            file = folder / tile.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(write_bundle(entries[tile.first : tile.first + tile.width]))
    (folder / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, leaves, edge.root()), key).write())
    now = datetime.now(UTC)
    policy = Policy(ORIGIN, (VerifierKey.of(ORIGIN, Kind.ED25519, key.public),))
    state = MonitorState(folder / "monitor.sqlite")
    trust = Trust(root=PrivateKey.generate("ES256").public, policy=policy, now=now)
    monitor = Monitor(LogSource(str(folder)), state, trust, set(), now)
    began, used = time.perf_counter(), time.process_time()
    followed = monitor.follow(HOUR_S)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - used
    state.close()
    if followed != leaves or monitor.fresh:
        raise BenchFailed(
            f"The monitor followed {followed} of {leaves} entries and raised {len(monitor.fresh)} alarms."
        )
    return {"leaves": leaves, "per_second": leaves / wall_s, "per_cpu_second": leaves / cpu_s}


def main(arguments: list[str]) -> None:
    """Measure both, and print what was found as JSON."""
    times = SMALL_TIMES if "--small" in arguments else 1
    with tempfile.TemporaryDirectory() as folder:
        monitor = measure_monitor(FOLLOWED // times, Path(folder))
    print(json.dumps({"proof": measure_proofs(LEAVES // times), "monitor": monitor}))


if __name__ == "__main__":
    main(sys.argv[1:])
