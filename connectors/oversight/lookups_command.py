"""lookups FILE: whether a day's record of look-ups is the one in the log, and what those sealed to you say."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors.oversight.trust_options import add_trust, read_trust
from connectors.oversight.witness_command import WrongUse
from connectors.oversight.witness_door import utc_now
from contracts.audit.entries import EntryMalformed, read_entry
from contracts.audit.verify import Trust
from contracts.log.fault import Unproven
from contracts.log.proof import check_proof
from contracts.lookups import COVER, FORMAT, INFO, decode, read_root
from contracts.wire import base64url
from keys.fault import KeyFault
from keys.files import read_secret

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
FILE_BYTES_MAX = 256 * 1024 * 1024


class RecordBroken(Exception):
    """The record is not the one that the log names: the message says why."""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a program's."""
    parser = commands.add_parser(
        "lookups",
        help="recheck a day's record of look-ups, and open what is sealed to you",
        description="Recheck a file made by `hub lookups export`: each look-up, the day's root, its entry in the log, "
        "and the proof of that. With your private key the sealed look-ups are opened, and cover is told from them. "
        "Exit codes: 0 the record is whole, 1 it is not, 2 wrong use.",
        epilog="Example: python -m connectors.oversight lookups lookups.json --root root.jwk.json --log-key log.vkey "
        "--witness-key witness.vkey --seal-key seal.pem",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file")
    add_trust(parser)
    parser.add_argument("--seal-key", type=Path, help="file with your private X25519 key (PEM, mode 0600)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=_recheck)


def _recheck(arguments: argparse.Namespace) -> int:
    trust = read_trust(arguments, utc_now())
    key = None if arguments.seal_key is None else _read_key(arguments.seal_key)
    try:
        raw = arguments.file.read_bytes()
    except OSError as error:
        raise WrongUse(f"{arguments.file} cannot be read: {error.strerror}.") from None
    try:
        document = check_record(raw, trust)
        opened = None if key is None else open_sealed(document, key)
    except RecordBroken as fault:
        print(json.dumps({"whole": False, "why": str(fault)}) if arguments.json else f"NOT WHOLE / TIDAK UTUH: {fault}")
        return 1
    told = _describe(document, opened)
    print(json.dumps(told, ensure_ascii=False) if arguments.json else _write_text(told))
    return 0


def _read_key(path: Path) -> X25519PrivateKey:
    try:
        key = load_pem_private_key(read_secret(path), password=None)
    except KeyFault as fault:
        raise WrongUse(f"--seal-key {path} {fault.says}.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise WrongUse(f"--seal-key {path} holds no private X25519 key in PEM.")
    return key


def check_record(raw: bytes, trust: Trust) -> dict[str, Any]:
    """Return the record if it comes to the root that the log holds for its day. Raises RecordBroken."""
    if len(raw) > FILE_BYTES_MAX:
        raise RecordBroken("the file is too large")
    try:
        document = json.loads(raw)
        if document["format"] != FORMAT:
            raise RecordBroken(f"the file is no {FORMAT}")
        root, entry, proof = read_root(document), document["entry"].encode(), document["tlog_proof"].encode()
        said = read_entry(entry)
    except (KeyError, TypeError, ValueError, AttributeError, EntryMalformed, RecursionError):
        raise RecordBroken("the file is malformed") from None
    if (said["kind"], said.get("day")) != ("lookups", document["day"]):
        raise RecordBroken("the entry is that of another day or another kind")
    if said["root"] != base64url.encode(root):
        raise RecordBroken("a look-up was changed, taken out or put in: the root in the log is another one")
    try:
        check_proof(proof, entry, trust.policy)
    except Unproven as error:
        raise RecordBroken(f"the log does not hold that entry: {error}") from None
    checked: dict[str, Any] = document
    return checked


def open_sealed(document: dict[str, Any], key: X25519PrivateKey) -> list[dict[str, str]]:
    """Return the look-ups that were sealed to `key`, without cover, by their time.

    What was sealed to another key, as on the day of its change, is left out. Raises RecordBroken if all of it was.
    """
    sealed = [decode(lookup["sealed"]) for lookup in document["lookups"] if "sealed" in lookup]
    opened = [members for one in sealed if (members := _open(one, key)) is not None]
    if sealed and not opened:
        raise RecordBroken("no sealed look-up was sealed to this key")
    return sorted((one for one in opened if COVER not in one), key=lambda one: str(one.get("at")))


def _open(sealed: bytes, key: X25519PrivateKey) -> dict[str, str] | None:
    try:
        members = json.loads(SUITE.decrypt(sealed, key, INFO))
    except (InvalidTag, ValueError):
        return None
    return members if isinstance(members, dict) else None


def _describe(document: dict[str, Any], opened: list[dict[str, str]] | None) -> dict[str, Any]:
    seen = [{name: one[name] for name in one if name != "salt"} for one in document["lookups"] if "sealed" not in one]
    seen.sort(key=lambda one: str(one["at"]))
    sealed = len(document["lookups"]) - len(seen)
    return {"whole": True, "day": document["day"], "open": seen, "sealed": sealed, "own": opened}


def _write_text(told: dict[str, Any]) -> str:
    by_role = Counter(str(one["role"]) for one in told["open"])
    lines = [f"WHOLE / UTUH: {told['day']}"]
    lines += [f"    {role}: {count}" for role, count in sorted(by_role.items())]
    lines.append(f"    sealed, cover among them / tersegel, termasuk pengisi: {told['sealed']}")
    if told["own"] is not None:
        lines.append(f"    your own / milik Anda: {len(told['own'])}")
        lines += [f"        {one['at']} {one['actor']} {one['subject']}: {one['reason']}" for one in told["own"]]
    return "\n".join(lines)
