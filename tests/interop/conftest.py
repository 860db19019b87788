"""The foreign programs, made ready once a session, and the exchange whose log and recommendations they check."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contracts.log.note import Kind, encode_base64
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.rig import EVERYTHING
from tests.interop import toolchains

LIBRARIES = {"jose": "node", "jwx": "go", "nimbus": "jdk"}


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the Go programs."""
    return toolchains.build_go(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="session")
def node_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the JavaScript programs."""
    return toolchains.install_node(tmp_path_factory.mktemp("node"))


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(tool)) for name, tool in LIBRARIES.items()])
def library(request: pytest.FixtureRequest) -> Sequence[str]:
    """Give the command that asks one foreign JOSE library."""
    match request.param:
        case "jose":
            return ["node", str(request.getfixturevalue("node_programs") / "jose.js")]
        case "jwx":
            return [str(request.getfixturevalue("go_programs") / "jwx")]
        case _:
            return toolchains.nimbus_command()


@pytest.fixture(scope="session")
def exchange(
    kafka_cluster: Kafka,
    postgres_server: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Exchange]:
    """Give the running exchange; where there is Go, its witness is the one of transparency-dev."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path_factory.mktemp("interop")) as exchange:
        if toolchains.has_go():
            start_foreign_witness(exchange, request.getfixturevalue("go_programs") / "witness")
            others = [name for name in EVERYTHING if name != "witness"]
            exchange.rig.start(*others)
            exchange.rig.wait_ready(*others)
        else:
            exchange.begin()
        yield exchange


def start_foreign_witness(exchange: Exchange, program: Path) -> None:
    """Start the other witness at the address and with the name and key that the registry gives ours."""
    cast = exchange.rig.cast
    name, key_id, _ = (cast.folder / "witness.vkey").read_text().split("+", 2)
    key = load_pem_private_key(cast.witness_key.file.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    private = encode_base64(bytes((Kind.COSIGNATURE_V1,)) + key.private_bytes_raw())
    given = {
        "address": cast.url("witness").removeprefix("http://"),
        "log_key": (cast.folder / "log.vkey").read_text().strip(),
        "signer": f"PRIVATE+KEY+{name}+{key_id}+{private}",
    }
    file = cast.folder / "foreign-witness.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(given))
    exchange.rig.running["witness"] = exchange.rig.children.start("witness", [program, file])
