"""root: make and change root documents, which say who may sign. Offline: these commands need no setting at all."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.root import FORMAT, PERSONS_MIN, Root, read_chain, sign_root, write_root
from contracts.wire.instant import write_instant
from contracts.wire.key import PublicKey, Signer
from hub import trust
from hub.clock import utc_now
from hub.commands.proposals import describe_root, write_new, write_over
from hub.commands.terminal import AsJson, print_json, print_line
from hub.settings import SettingsInvalid

PERSON_KEY_LIFETIME_DAYS = 730

root_app = typer.Typer(no_args_is_help=True, help="Make and change root documents, on a machine without a network.")

ChainFile = Annotated[Path, typer.Argument(help="The chain of root documents until now.")]
Persons = Annotated[
    Path, typer.Argument(help="{environment, threshold, persons: [{id, name, may_suspend, keys: [{jwk}]}]} (JSON).")
]
Out = Annotated[Path, typer.Option("--out", help="The new file for the chain; must not exist yet.")]
RootKey = Annotated[Path, typer.Option("--key", help="The root key: PKCS#8 PEM, mode 0600.")]
Keys = Annotated[list[Path], typer.Option("--key", help="A root key: PKCS#8 PEM, mode 0600; repeatable.")]


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        raise SettingsInvalid(f"{file} cannot be read as JSON.") from None


def _read_persons(file: Path, now: datetime) -> dict[str, Any]:
    """Return what a root document says of persons, with everything filled in that follows from the rest."""
    given = _read_json(file)
    if not isinstance(given, dict) or not isinstance(given.get("persons"), list):
        raise SettingsInvalid(f"{file} must be a JSON object with persons.")
    try:
        persons = [
            {"name": person["id"], "may_suspend": False, **person, "keys": [_fill(key, now) for key in person["keys"]]}
            for person in given["persons"]
        ]
    except (KeyError, TypeError, AttributeError):
        raise SettingsInvalid(f"{file}: each person needs an id and keys, and each key a jwk.") from None
    return {"threshold": PERSONS_MIN, **given, "persons": persons}


def _fill(key: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    public = PublicKey.from_jwk(key["jwk"])
    expiry = now + timedelta(days=PERSON_KEY_LIFETIME_DAYS)
    times = {"nbf": write_instant(now), "exp": write_instant(expiry), "revoked_at": None}
    return {"kid": public.kid, "alg": public.alg, **times, **key, "jwk": public.jwk}


@root_app.command("new", epilog="Example: hub root new persons.json --key root.pem --out roots.json")
def make_root(persons: Persons, key: RootKey, out: Out, as_json: AsJson = False) -> None:
    """Write root document 1, signed with the root key whose public half every party will pin."""
    now, root = utc_now(), trust.read_private_key(key, "--key")
    document = {
        "format": FORMAT, "version": 1, "issued_at": write_instant(now), "previous": None,
        **_read_persons(persons, now), "root": root.public.jwk,
    }  # fmt: skip
    chain = [write_root(document, root)]
    write_new(out, _write(chain))
    _show(read_chain(chain, root.public), as_json)


@root_app.command("rotate", epilog="Example: hub root rotate roots.json --key old.pem --key new.pem --out roots-2.json")
def rotate_root(
    file: ChainFile,
    key: Keys,
    out: Out,
    persons: Annotated[
        Path | None, typer.Option("--persons", help="The persons from now on (JSON); without it they stay.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="The next root key's public half (JWK), if it signs elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the next root document: other persons, another root key, or both.

    The first --key is the root key until now. Another root key is the second --key, or is named with --root and signs
    on its own machine with `hub root sign`.
    """
    now, keys, chain = utc_now(), _read_keys(key), _read_json(file)
    last = read_chain(chain, keys[0].public)[-1]
    following = keys[-1].public if root is None else PublicKey.from_jwk(_read_json(root))
    given = dict(last.document) if persons is None else {**last.document, **_read_persons(persons, now)}
    given |= {"version": last.version + 1, "issued_at": write_instant(now), "previous": last.sha256}
    signed = write_root({**given, "root": following.jwk}, *keys)
    chain = [*chain, signed]
    complete = following.kid in {one.kid for one in keys}
    roots = read_chain(chain, keys[0].public) if complete else ()
    write_new(out, _write(chain))
    if complete:
        _show(roots, as_json)
    else:
        print_line(f"Root key {following.kid} must sign too: `hub root sign {out} --key ...` on its machine.")


@root_app.command("sign", epilog="Example: hub root sign roots-2.json --key new.pem")
def add_signature(file: ChainFile, key: Keys, as_json: AsJson = False) -> None:
    """Add a root key's signature to the last document of a chain."""
    chain = _read_json(file)
    if not isinstance(chain, list) or not chain:
        raise SettingsInvalid(f"{file} holds no chain of root documents.")
    for one in _read_keys(key):
        chain[-1] = sign_root(chain[-1], one)
    roots = read_chain(chain, _read_keys(key)[0].public)
    write_over(file, _write(chain))
    _show(roots, as_json)


@root_app.command("show", epilog="Example: hub root show roots.json --root root.pub.json")
def show_root(
    file: ChainFile,
    root: Annotated[Path, typer.Option("--root", help="The pinned root key's public half (JWK).")],
    as_json: AsJson = False,
) -> None:
    """Verify a chain under a pinned root key, and show who may sign by its last document."""
    _show(read_chain(_read_json(file), PublicKey.from_jwk(_read_json(root))), as_json)


def _read_keys(files: Sequence[Path]) -> list[Signer]:
    return [trust.read_private_key(file, "--key") for file in files]


def _write(chain: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps(list(chain), indent=1).encode() + b"\n"


def _show(roots: Sequence[Root], as_json: bool) -> None:
    root = roots[-1]
    if as_json:
        print_json(describe_root(root))
        return
    print_line(f"Root document {root.version} of {root.environment}, root key {root.key.kid}.")
    print_line(f"{root.threshold} of these persons must sign each change of the registry:")
    for person in root.persons.values():
        may = ", may suspend" if person.may_suspend else ""
        print_line(f"  {person.id} ({person.name}{may}): {', '.join(key.public.kid for key in person.keys)}")
