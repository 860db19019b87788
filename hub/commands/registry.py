"""participants and keys: who takes part, with which keys."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import Refusal
from contracts.registry import KeyEntry, Registry
from contracts.wire.key import PrivateKey
from hub import registration, trust
from hub.clock import utc_now
from hub.commands import proposals
from hub.commands.terminal import AsJson, database, print_json, print_line, print_table, wait_for
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.trust import RegistryInForce

PRIVATE_MODE = 0o600
PUBLIC_SUFFIX = ".pub.json"

participants_app = typer.Typer(no_args_is_help=True, help="Show the registry, and propose changes of participants.")
keys_app = typer.Typer(no_args_is_help=True, help="Make keys.")


@participants_app.command("list", epilog="Example: hub participants list --json")
def list_participants(as_json: AsJson = False) -> None:
    """Show the registry in force: participants with their keys, and what they may say and hear."""
    registry = wait_for(_read_registry(read_settings()))
    if as_json:
        print_json(dict(registry.document))
        return
    print_line(f"Registry {registry.environment}, version {registry.version}, issued {registry.issued_at:%Y-%m-%d}.")
    rows = [
        {
            "id": party.id,
            "kind": party.kind,
            "name": party.name,
            "publishes": len(party.publishes),
            "subscribes": len(party.subscribes),
            "keys": ", ".join(describe_key(key, registry.suspended) for key in party.keys),
        }
        for party in registry.participants.values()
    ]
    print_table(rows, ("id", "kind", "name", "publishes", "subscribes", "keys"), "No participants.")


def describe_key(key: KeyEntry, suspended: frozenset[str]) -> str:
    """Return a key's id, use and algorithm, and whether it counts now."""
    now = utc_now()
    if key.revoked_at is not None:
        state = "revoked"
    elif key.kid in suspended:
        state = "suspended"
    elif now >= key.exp:
        state = "expired"
    else:
        state = "in force" if now >= key.nbf else "not valid yet"
    return f"{key.kid} ({key.use}, {key.alg}, {state})"


async def _read_registry(settings: Settings) -> Registry:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened, opened.connection() as connection:
        return await RegistryInForce(root).refresh(connection)


@participants_app.command("add", epilog="Example: hub participants add bank.json --out proposal.json")
def add_participants(
    file: Annotated[Path, typer.Argument(help="A participant, a list of them, or {settings, participants} (JSON).")],
    out: proposals.Out,
    roots: proposals.Roots = None,
    as_json: AsJson = False,
) -> None:
    """Propose the next registry version, with the participants of FILE added or replaced: `hub registry propose FILE`.

    A replaced participant must keep all its keys. Of a key only its jwk must be given, and its use if that is not
    `message`. Topics of new participants are added with one partition each unless the file's settings say otherwise.
    """
    proposals.propose([proposals.read_edit(file)], roots, out, as_json)


@participants_app.command("revoke-key", epilog="Example: hub participants revoke-key KID --out proposal.json")
def revoke_key(
    kid: Annotated[str, typer.Argument(help="The key's id, its RFC 7638 thumbprint.")],
    out: proposals.Out,
    as_json: AsJson = False,
) -> None:
    """Propose to revoke a key: `hub registry propose --revoke KID`. To stop it at once: `hub registry suspend`."""
    proposals.propose([registration.revoke_key(kid, utc_now())], None, out, as_json)


@keys_app.command("new", epilog="Example: hub keys new --alg ES256 --out bank.pem")
def make_key(
    out: Annotated[Path, typer.Option("--out", help="The new file for the private key; must not exist yet.")],
    alg: Annotated[str, typer.Option("--alg", help="Ed25519 or ES256.")] = "Ed25519",
    as_json: AsJson = True,
) -> None:
    """Make a key: the private half into FILE (PEM, mode 0600), the public half onto stdout and into FILE.pub.json."""
    try:
        key = PrivateKey.generate(alg)
    except Refusal:
        raise SettingsInvalid("--alg must be Ed25519 or ES256.") from None
    public = json.dumps(key.public.jwk | {"kid": key.kid, "alg": key.alg})
    _write_new(out, key.to_pem(), PRIVATE_MODE)
    _write_new(out.with_name(out.name + PUBLIC_SUFFIX), public.encode() + b"\n", 0o644)
    typer.echo(public)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist: an overwritten private key is lost for ever."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise SettingsInvalid(f"{path} exists already, and a key is never overwritten.") from None
    except OSError as error:
        raise SettingsInvalid(f"{path} cannot be written: {error.strerror}.") from None
