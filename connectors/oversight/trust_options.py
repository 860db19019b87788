"""What the oversight body believes, as options of its commands: its own copies of keys, never what a hub sends."""

import argparse
import hashlib
import json
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from connectors.oversight.witness_command import WrongUse
from contracts.audit.verify import Trust
from contracts.errors import Refusal
from contracts.log.checkpoint import Policy
from contracts.log.fault import Unproven
from contracts.log.note import VerifierKey
from contracts.root import PERSONS_MIN
from contracts.wire.key import PublicKey


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whom to believe."""
    parser.add_argument("--root", type=Path, required=True, help="file with the registry's public root key (JWK)")
    parser.add_argument(
        "--log-key", type=Path, action="append", required=True, help="file with the log's verifier key; repeatable"
    )
    parser.add_argument(
        "--witness-key", type=Path, action="append", default=[], help="file with a witness's verifier key; repeatable"
    )
    parser.add_argument("--quorum", type=int, help="how many of the witnesses must have cosigned (default: all given)")
    parser.add_argument(
        "--cosignature-age-s",
        type=int,
        help="how much older than a pack its cosignature may be (default: as old as what it covers; "
        "a log that rests is not cosigned again)",
    )
    parser.add_argument(
        "--persons",
        type=int,
        default=PERSONS_MIN,
        help="how many persons must have signed the registry (default: %(default)s)",
    )
    parser.add_argument(
        "--registry-version", type=int, default=0, help="the newest registry version that you know of, if any"
    )


def read_trust(arguments: argparse.Namespace, now: datetime) -> Trust:
    """Return what the options say. Raises WrongUse."""
    log_keys = _read_keys(arguments.log_key)
    witnesses = _read_keys(arguments.witness_key)
    quorum = len(witnesses) if arguments.quorum is None else arguments.quorum
    try:
        policy = Policy(log_keys[0].name, log_keys, witnesses, quorum)
    except (ValueError, IndexError) as error:
        raise WrongUse(f"These keys cannot be used together: {error}.") from None
    return Trust(
        root=_read_root(arguments.root),
        policy=policy,
        now=now,
        cosignature_age_s_max=arguments.cosignature_age_s,
        registry_version_min=arguments.registry_version,
        persons_min=arguments.persons,
        contracts=read_contracts(),
    )


def _read_keys(paths: list[Path]) -> tuple[VerifierKey, ...]:
    found: list[VerifierKey] = []
    for path in paths:
        try:
            found += [VerifierKey.read(line) for line in path.read_text("utf-8").split()]
        except OSError as error:
            raise WrongUse(f"{path} cannot be read: {error.strerror}.") from None
        except (UnicodeDecodeError, Unproven):
            raise WrongUse(f"{path} holds no verifier key (C2SP signed-note).") from None
    return tuple(found)


def _read_root(path: Path) -> PublicKey:
    try:
        return PublicKey.from_jwk(json.loads(path.read_bytes()))
    except OSError as error:
        raise WrongUse(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, AttributeError, Refusal):
        raise WrongUse(f"{path} holds no public key (JWK).") from None


def read_contracts() -> dict[str, str]:
    """Return the SHA-256 of each event contract that is installed here, by which this program reads events."""
    schemas = files("contracts").joinpath("schemas")
    return {
        file.name.removesuffix(".json"): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in schemas.iterdir()
        if file.name.endswith(".json")
    }


def read_rule_sets() -> set[str]:
    """Return the SHA-256 of each rule set that is installed here: the ones that somebody has compared with the law."""
    sets = files("contracts.rules").joinpath("sets")
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in sets.iterdir() if file.name.endswith(".toml")}
