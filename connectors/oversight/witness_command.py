"""witness, witness-key, witness-evidence: the commands of the witness."""

import argparse
import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from connectors.oversight.memory import add_state
from connectors.oversight.witness import Witness
from connectors.oversight.witness_door import Desk, WitnessServer, utc_now
from connectors.oversight.witness_state import WitnessState
from contracts.log.checkpoint import Policy
from contracts.log.fault import Unproven
from contracts.log.note import Kind, VerifierKey, is_key_name
from contracts.wire.key import ED25519, PrivateKey, Signer
from keys.fault import KeyFault
from keys.place import is_token, open_key

PRIVATE_MODE = 0o600
STOP_POLL_S = 0.2


class WrongUse(Exception):
    """A file or an option cannot be used; the message says why in one sentence."""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the witness's commands to a program's."""
    serve = commands.add_parser(
        "witness",
        help="cosign the checkpoints of a log that only grows",
        description="Check each checkpoint against the one cosigned before, store it, cosign it (C2SP tlog-witness). "
        "A log that forks or shrinks is refused, and both of its checkpoints are kept: see witness-evidence.",
        epilog="Example: python -m connectors.oversight witness --name kpk.example/witness --key witness.pem "
        "--log-key log.vkey --state witness.sqlite --port 8443",
    )
    _add_name_and_key(serve)
    serve.add_argument(
        "--log-key",
        type=Path,
        action="append",
        required=True,
        help="file with a watched log's verifier key; repeatable",
    )
    add_state(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8443, help="port to serve on (default: %(default)s)")
    serve.set_defaults(command=_serve)
    make = commands.add_parser(
        "witness-key",
        help="make a witness's key, or show its verifier key",
        description="Make the private key unless the file is there, and print the verifier key for the registry.",
        epilog="Example: python -m connectors.oversight witness-key --name kpk.example/witness --key witness.pem",
    )
    _add_name_and_key(make)
    make.set_defaults(command=_make_key)
    show = commands.add_parser(
        "witness-evidence",
        help="print the contradictions that a witness has kept",
        description="Print each as a line of JSON: when, what is wrong, the checkpoint held and the one shown, both "
        "signed by the log. A fork proves itself; consistency_invalid means that a checkpoint came without a proof "
        "that it continues the one before. Exit code 1 if there is a fork.",
        epilog="Example: python -m connectors.oversight witness-evidence --state witness.sqlite",
    )
    add_state(show)
    show.set_defaults(command=_show_evidence)


def _add_name_and_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="the witness's name, as in kpk.example/witness")
    key_help = "its private key: a file (PKCS#8 PEM, mode 0600) or a pkcs11: URI"
    parser.add_argument("--key", type=Path, required=True, help=key_help)


def open_witness_key(place: Path) -> Signer:
    """Return what signs with an Ed25519 key that nobody else may read: a file's or a token's. Raises WrongUse."""
    try:
        key = open_key(place)
    except KeyFault as fault:
        raise WrongUse(f"{'The key' if is_token(place) else place} {fault}.") from None
    if key.alg != ED25519:
        raise WrongUse("--key holds no Ed25519 key.")
    return key


def read_log_keys(files: list[Path]) -> dict[str, Policy]:
    """Read logs' verifier keys, one a line; several of one log may be given. Raises WrongUse."""
    found: dict[str, list[VerifierKey]] = {}
    for file in files:
        try:
            for line in file.read_text("utf-8").split():
                key = VerifierKey.read(line)
                found.setdefault(key.name, []).append(key)
        except OSError as error:
            raise WrongUse(f"{file} cannot be read: {error.strerror}.") from None
        except (UnicodeDecodeError, Unproven):
            raise WrongUse(f"{file} holds no verifier key (C2SP signed-note).") from None
    try:
        return {origin: Policy(origin, tuple(keys)) for origin, keys in found.items()}
    except ValueError as error:
        raise WrongUse(f"A key of --log-key cannot be a log's: {error}.") from None


def _check_name(name: str) -> str:
    if not is_key_name(name):
        raise WrongUse("A witness's name has no space and no plus.")
    return name


def _serve(arguments: argparse.Namespace) -> int:
    witness = Witness(_check_name(arguments.name), open_witness_key(arguments.key), read_log_keys(arguments.log_key))
    state = _open_state(arguments.state)
    try:
        server = WitnessServer(arguments.host, arguments.port, Desk(witness, state, utc_now))
    except OSError as error:
        raise WrongUse(f"{arguments.host}:{arguments.port} cannot be listened on: {error.strerror}.") from None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": STOP_POLL_S}, name="door")
    serving.start()
    print(f"Watching {', '.join(witness.logs)} on {arguments.host}:{server.server_port}.", flush=True)
    stop.wait()
    server.shutdown()
    serving.join()
    server.server_close()
    state.close()
    return 0


def _open_state(file: Path) -> WitnessState:
    try:
        return WitnessState(file)
    except (sqlite3.Error, OSError) as error:
        raise WrongUse(f"{file} cannot be used as a witness's memory: {error}.") from None


def _make_key(arguments: argparse.Namespace) -> int:
    if not is_token(arguments.key) and not arguments.key.exists():
        _write_key(arguments.key, PrivateKey.generate(ED25519))
    key = open_witness_key(arguments.key)
    print(VerifierKey.of(_check_name(arguments.name), Kind.COSIGNATURE_V1, key.public).write())
    return 0


def _write_key(file: Path, key: PrivateKey) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    except OSError as error:
        raise WrongUse(f"{file} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(key.to_pem())


def _show_evidence(arguments: argparse.Namespace) -> int:
    if not arguments.state.exists():
        raise WrongUse(f"{arguments.state} does not exist.")
    state = _open_state(arguments.state)
    found = state.evidence()
    state.close()
    for evidence in found:
        sys.stdout.write(json.dumps(evidence._asdict(), ensure_ascii=False) + "\n")
    return int(any(evidence.fault == "fork" for evidence in found))
