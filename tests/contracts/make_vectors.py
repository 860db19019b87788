"""Make the project's own vectors: `python -m tests.contracts.make_vectors` writes contracts/vectors/exchange.json.

Deterministic: keys and nonces are derived from names, times are fixed, ES256 signs by RFC 6979.
"""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tests.contracts import vector_events, vector_hostile, vector_proofs, vector_registries, vector_signatures
from tests.contracts.vector_world import ROOT, Json

VECTORS = Path(__file__).parents[2] / "contracts" / "vectors" / "exchange.json"

GROUPS = (
    vector_signatures.accepted_singles,
    vector_signatures.refused_headers,
    vector_signatures.refused_protected,
    vector_signatures.refused_singles,
    vector_signatures.special_singles,
    vector_signatures.accepted_batches,
    vector_signatures.refused_proofs,
    vector_signatures.refused_statements,
    vector_signatures.refused_batches,
    vector_events.values_as_json,
    vector_events.values_accepted,
    vector_events.attributes,
    vector_events.place_and_time,
    vector_events.types_and_data,
    vector_events.keys,
    vector_events.memory,
    vector_events.memory_of_roots,
    vector_registries.signatures,
    vector_registries.persons,
    vector_registries.roots,
    vector_registries.keys,
    vector_registries.successors,
    vector_registries.deliveries,
    vector_proofs.accepted,
    vector_proofs.wrong_paths,
    vector_proofs.wrong_checkpoints,
    vector_proofs.malformed,
    vector_hostile.forged_signatures,
    vector_hostile.hostile_headers,
    vector_hostile.hostile_protected,
    vector_hostile.hostile_statements,
    vector_hostile.odd_trees,
    vector_hostile.hostile_json,
    vector_hostile.other_banks_money,
)


def vectors() -> Iterator[Json]:
    """Make every vector, in order."""
    return chain.from_iterable(group() for group in GROUPS)


def text() -> str:
    """Write the whole file: one vector a line, so that a change is seen as one."""
    lines = ",\n".join(json.dumps(vector, ensure_ascii=True, separators=(",", ":")) for vector in vectors())
    head = {"format": "tkahub-vectors/1", "root": ROOT.public.jwk, "registries": vector_registries.registries()}
    shared = json.dumps(head, separators=(",", ":"))[:-1]
    return f'{shared},"vectors":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    VECTORS.write_text(text(), encoding="ascii")
