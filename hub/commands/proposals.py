"""registry: propose a change, let persons sign it, put it in force; and suspend a key at once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.registry import Registry
from contracts.root import Root
from contracts.suspension import Suspension, write_suspension
from contracts.wire.instant import write_instant
from contracts.wire.key import PublicKey, Signer
from hub import registration, trust
from hub.clock import utc_now
from hub.commands.terminal import AsJson, database, print_json, print_line, wait_for, working
from hub.proposal import Proposal, describe_changes
from hub.registration import Applied, Edit
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.store import registry as registry_store
from hub.trust import InForce

registry_app = typer.Typer(no_args_is_help=True, help="Change the signed registry, which takes two persons.")

Out = Annotated[Path, typer.Option("--out", help="The new file for the proposal; must not exist yet.")]
Roots = Annotated[
    Path | None, typer.Option("--roots", help="The chain of root documents, for the first version and after a change.")
]
PersonKey = Annotated[Path, typer.Option("--key", help="The person's own private key: PKCS#8 PEM, mode 0600.")]
PinnedRoot = Annotated[
    Path | None,
    typer.Option("--root", envvar="TRUST_ROOT_FILE", help="The pinned root key's public half (JWK)."),
]
ProposalFile = Annotated[Path, typer.Argument(help="What `hub registry propose` wrote.")]


def read_edit(file: Path) -> Edit:
    """Return the edit that a file asks for. Raises SettingsInvalid, ChangeInvalid."""
    return registration.add_participants(_read_json(file), utc_now())


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        raise SettingsInvalid(f"{file} cannot be read as JSON.") from None


def read_proposal(file: Path) -> Proposal:
    """Read a proposal. Raises SettingsInvalid, RegistryError."""
    try:
        return Proposal.read(file.read_bytes())
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read: {error.strerror}.") from None


def write_new(file: Path, content: bytes) -> None:
    """Write a file that must not exist: what somebody has signed is not overwritten. Raises SettingsInvalid."""
    try:
        with file.open("xb") as opened:
            opened.write(content)
    except FileExistsError:
        raise SettingsInvalid(f"{file} exists already.") from None
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be written: {error.strerror}.") from None


def write_over(file: Path, content: bytes) -> None:
    """Replace a file in one step, so that an interruption loses no signature. Raises SettingsInvalid."""
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be written: {error.strerror}.") from None


@registry_app.command("propose", epilog="Example: hub registry propose bank.json --out proposal.json")
def propose_change(
    out: Out,
    file: Annotated[
        Path | None, typer.Argument(help="A participant, a list of them, or {settings, participants} (JSON).")
    ] = None,
    revoke: Annotated[list[str] | None, typer.Option("--revoke", help="A key to revoke; repeatable.")] = None,
    lift: Annotated[list[str] | None, typer.Option("--lift", help="A suspended key to let sign again.")] = None,
    roots: Roots = None,
    as_json: AsJson = False,
) -> None:
    """Write a proposal against the version in force, and say in plain words what it changes. Nothing is in force yet.

    Without a change of its own it brings what this installation does: new rule sets and event contracts.
    """
    now = utc_now()
    edits = [] if file is None else [read_edit(file)]
    edits += [registration.revoke_key(kid, now) for kid in revoke or ()]
    edits += [registration.lift_suspension(kid, _read_taken(kid)) for kid in lift or ()]
    propose(edits, roots, out, as_json)


def propose(edits: Sequence[Edit], roots: Path | None, out: Path, as_json: bool) -> None:
    """Write a proposal and say what it changes. Raises ChangeInvalid, RegistryError, SettingsInvalid."""
    settings = read_settings()
    pinned = trust.read_root(settings.trust_root_file)
    chain = None if roots is None else _read_json(roots)
    with working("Proposing"):
        base = wait_for(_read_base(settings))
        proposal = registration.write_proposal(base, chain, edits, pinned, utc_now())
    write_new(out, proposal.write())
    _show(proposal, pinned, as_json, f"Proposed in {out}. Persons sign it with `hub registry sign {out} --key FILE`.")


async def _read_base(settings: Settings) -> str | None:
    async with database(settings) as opened, opened.connection() as connection:
        stored = await registry_store.read_in_force(connection)
    return None if stored is None else stored.document


def _read_taken(kid: str) -> list[str]:
    """Return the digests of the suspensions of a key that are in force."""
    return [one.sha256 for one in wait_for(_read_suspensions(read_settings()))[1] if one.kid == kid]


async def _read_suspensions(settings: Settings) -> tuple[InForce, list[Suspension]]:
    pinned = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened, opened.snapshot() as connection:
        return await registration.read_suspensions(connection, pinned)


def _show(proposal: Proposal, pinned: PublicKey, as_json: bool, last: str) -> None:
    old, new = proposal.read_both(pinned)
    changes, signers = list(describe_changes(old, new)), sorted(proposal.signers(pinned))
    if as_json:
        print_json({"version": new.version, "changes": changes, "signed_by": signers, "must": new.root.threshold})
        return
    print_line(f"Registry {new.environment}, version {new.version}, changes:")
    for change in changes or ["nothing but the version"]:
        print_line(f"  {change}")
    print_line(f"Signed by {', '.join(signers) or 'nobody'}; {new.root.threshold} persons must.")
    print_line(last)


@registry_app.command("sign", epilog="Example: hub registry sign proposal.json --key sari.pem")
def sign_proposal(
    file: ProposalFile,
    key: PersonKey,
    root: PinnedRoot = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask after showing what is signed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a proposal changes, and sign it. It needs no network, no database and no setting."""
    pinned, proposal = trust.read_root(root), read_proposal(file)
    person = trust.read_private_key(key, "--key")
    if not yes:
        _show(proposal, pinned, False, "This is reckoned here, from what the pinned root key vouches for.")
        typer.confirm("Sign this?", abort=True, err=True)
    signed = proposal.sign(person, pinned, utc_now())
    write_over(file, signed.write())
    _show(signed, pinned, as_json, f"Signed in {file}.")


@registry_app.command("apply", epilog="Example: hub registry apply proposal.json")
def apply_proposal(file: ProposalFile, as_json: AsJson = False) -> None:
    """Put a proposal in force that enough persons have signed; refused if the registry has changed since."""
    settings, proposal = read_settings(), read_proposal(file)
    with working("Putting the registry in force"):
        applied = wait_for(_apply(settings, proposal))
    version, signers = applied.registry.version, sorted(applied.registry.signers)
    if as_json:
        print_json({"version": version, "log_index": applied.log_index, "leaves": applied.leaves, "signed_by": signers})
    else:
        who = " and ".join(signers)
        where = f"from log index {applied.log_index} on ({applied.leaves} leaves)"
        print_line(f"Registry version {version}, signed by {who}, is in force, {where}.")


async def _apply(settings: Settings, proposal: Proposal) -> Applied:
    pinned = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        return await registration.apply(opened, proposal, pinned, utc_now())


@registry_app.command("suspend", epilog='Example: hub registry suspend KID --key sari.pem --reason "laptop stolen"')
def suspend_key(
    kid: Annotated[str, typer.Argument(help="The key's id, its RFC 7638 thumbprint.")],
    key: PersonKey,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the log; no names of persons.")],
    as_json: AsJson = False,
) -> None:
    """Stop a key at once, as one person who may: its messages wait. To lift that, or to revoke the key, takes two."""
    settings, person = read_settings(), trust.read_private_key(key, "--key")
    suspended = wait_for(_suspend(settings, kid, reason, person))
    if as_json:
        print_json({"kid": kid, "suspension": suspended.sha256, "person": suspended.person})
    else:
        print_line(f"Key {kid} is suspended by {suspended.person}: its messages wait.")


async def _suspend(settings: Settings, kid: str, reason: str, person: Signer) -> Suspension:
    pinned, now = trust.read_root(settings.trust_root_file), utc_now()
    async with database(settings) as opened:
        async with opened.connection() as connection:
            environment = (await trust.load(connection, pinned)).registry.environment
        return await registration.suspend(opened, write_suspension(environment, kid, reason, now, person), pinned, now)


@registry_app.command("show", epilog="Example: hub registry show --json")
def show_registry(as_json: AsJson = False) -> None:
    """Show the registry in force: who signed it, who may sign the next, and which keys are suspended."""
    in_force, suspensions = wait_for(_read_suspensions(read_settings()))
    registry, root = in_force.registry, in_force.registry.root
    if as_json:
        print_json(
            {
                "version": registry.version, "issued_at": write_instant(registry.issued_at),
                "signed_by": sorted(registry.signers), "document": dict(registry.document), "root": describe_root(root),
                "suspended": [
                    {"kid": one.kid, "person": one.person, "reason": one.reason, "at": write_instant(one.issued_at)}
                    for one in suspensions
                ],
            }
        )  # fmt: skip
        return
    _print_registry(registry, suspensions)


def describe_root(root: Root) -> dict[str, Any]:
    """Return a root document as JSON shows it."""
    persons = [
        {"id": one.id, "name": one.name, "may_suspend": one.may_suspend, "keys": [key.public.kid for key in one.keys]}
        for one in root.persons.values()
    ]
    return {"version": root.version, "root_kid": root.key.kid, "threshold": root.threshold, "persons": persons}


def _print_registry(registry: Registry, suspensions: Sequence[Suspension]) -> None:
    root = registry.root
    print_line(f"Registry {registry.environment}, version {registry.version}, of {registry.issued_at:%Y-%m-%d %H:%M}Z.")
    print_line(f"Signed by {', '.join(sorted(registry.signers))}; {root.threshold} persons must.")
    print_line(f"Root document {root.version}, root key {root.key.kid}:")
    for person in root.persons.values():
        may = ", may suspend" if person.may_suspend else ""
        print_line(f"  {person.id} ({person.name}{may}): {', '.join(key.public.kid for key in person.keys)}")
    for one in suspensions:
        print_line(f"Suspended by {one.person} at {one.issued_at:%Y-%m-%d %H:%M}Z: key {one.kid} ({one.reason})")
