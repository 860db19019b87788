"""What `check` looks at: each finding in plain words, with the fix. Nothing is changed."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import httpx
from aiokafka.errors import KafkaError
from cryptography.x509 import Certificate

from connectors.link.broker import Broker, read_certificate
from connectors.link.clock import utc_now
from connectors.link.fault import HubUnreachable, SettingsFault, SpoolLocked, TrustFault
from connectors.link.hub_client import HubClient
from connectors.link.key_ring import SETTINGS, Use, is_in_force, read_next
from connectors.link.receipts import tell_missing
from connectors.link.settings import ConnectorSettings
from connectors.link.spool_file import lock_spool, read_missing_receipts
from connectors.link.trust import Trust, read_private_key, read_root
from contracts.registry import Registry
from contracts.wire.key import PublicKey, Signer

EXIT_OK, EXIT_WRONG, EXIT_SETTINGS, EXIT_UNREACHABLE = 0, 1, 2, 3

# Long enough to ask for the next one, and to be told once more by a check every week.
CERTIFICATE_NOTICE = timedelta(days=14)

Verdict = Literal["ok", "wrong", "settings", "unreachable"]

_EXITS = {"ok": EXIT_OK, "wrong": EXIT_WRONG, "settings": EXIT_SETTINGS, "unreachable": EXIT_UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `says` is a plain sentence, which names the fix unless all is well."""

    title: str
    verdict: Verdict
    says: str


def exit_code_of(findings: Sequence[Finding]) -> int:
    """Return the exit code: wrong settings before something wrong before something unreachable before 0."""
    found = {_EXITS[finding.verdict] for finding in findings}
    return next((code for code in (EXIT_SETTINGS, EXIT_WRONG, EXIT_UNREACHABLE) if code in found), EXIT_OK)


async def check_link(settings: ConnectorSettings) -> AsyncIterator[Finding]:
    """Look at the keys, the spool's folder, the hub's API, the registry's entry and the broker."""
    try:
        root = read_root(settings.trust_root_file)
        key = read_private_key(settings.key_file, "KEY_FILE")
        api_key = read_private_key(settings.api_key_file, "API_KEY_FILE")
        read_next(settings.key_file, "message")
        read_next(settings.api_key_file, "api")
        broker = Broker.of(settings, f"check-{settings.participant}")
        certificate = read_certificate(settings)
    except SettingsFault as fault:
        yield Finding("keys", "settings", str(fault))
        return
    yield Finding("keys", "ok", "The root's public key and the private keys can be read.")
    yield _check_spool(settings)
    missing = _check_receipts(settings)
    if missing is not None:
        yield missing
    async with httpx.AsyncClient() as http:
        hub = HubClient(http, settings.hub_api_url, settings.participant, api_key)
        try:
            registry = await find_registry(settings, root, hub)
        except HubUnreachable as fault:
            yield Finding("hub", "unreachable", str(fault))
            return
        except TrustFault as fault:
            yield Finding("registry", "wrong", str(fault))
            return
        yield Finding("registry", "ok", f"Version {registry.version} of {registry.environment} is signed by the root.")
        files: tuple[tuple[Use, Path], ...] = (("message", settings.key_file), ("api", settings.api_key_file))
        for use, file in files:
            finding = check_rotation(file, use, registry, settings.participant, utc_now())
            if finding is not None:
                yield finding
        key = key_in_use(key, settings.key_file, "message", registry, settings.participant, utc_now())
        api_key = key_in_use(api_key, settings.api_key_file, "api", registry, settings.participant, utc_now())
        for finding in check_entry(settings, registry, key, api_key, utc_now()):
            yield finding
        yield await _check_api(settings, HubClient(http, settings.hub_api_url, settings.participant, api_key))
    if certificate is not None:
        yield check_certificate(certificate, settings.participant, utc_now())
    yield await _check_broker(broker, settings, registry)


async def find_registry(settings: ConnectorSettings, root: PublicKey, hub: HubClient) -> Registry:
    """Return the registry that is kept here, else the hub's. Raises HubUnreachable, TrustFault."""
    trust = Trust(settings.registry_file, root, hub.registry)
    return trust.registry if trust.known else Registry.read(await hub.registry(), root)


def _check_spool(settings: ConnectorSettings) -> Finding:
    try:
        settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_spool(settings.spool_file).close()
    except SpoolLocked:
        return Finding("spool", "ok", "A connector is running on this spool now.")
    except OSError as error:
        return Finding("spool", "settings", f"SPOOL_DIR cannot be written ({error.strerror}): give a folder that can.")
    return Finding("spool", "ok", "The spool's folder can be written, and no connector is running on it now.")


def _check_receipts(settings: ConnectorSettings) -> Finding | None:
    """Look into the spool, which a running connector may be writing, for receipts that are overdue."""
    if not settings.spool_file.exists():
        return None
    sent_before = utc_now() - timedelta(seconds=settings.receipt_within_s)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(settings.spool_file))}?mode=ro", uri=True)) as db:
            missing = read_missing_receipts(db, sent_before)
    except sqlite3.Error:
        # A spool of an older version: the connector brings it up to date when it starts.
        return None
    if missing.count:
        return Finding("receipts", "wrong", tell_missing(missing, settings.receipt_within_s))
    return Finding("receipts", "ok", "No receipt of the hub is overdue.")


def key_in_use(key: Signer, file: Path, use: Use, registry: Registry, participant: str, now: datetime) -> Signer:
    """Return what the connector signs with: the next key once it is in force, else the key of `file`."""
    following = read_next(file, use)
    usable = following is not None and is_in_force(registry, following, use, participant, now)
    return following if following is not None and usable else key


def check_rotation(file: Path, use: Use, registry: Registry, participant: str, now: datetime) -> Finding | None:
    """Say where a rotation of a key stands, or None if there is none. Raises SettingsFault if a key is unreadable."""
    following = read_next(file, use)
    if following is None:
        return None
    setting, old = SETTINGS[use], read_private_key(file, SETTINGS[use])
    if is_in_force(registry, following, use, participant, now):
        says = (
            f"The next key {following.kid} is in force and used instead of {old.kid}: run rotate-key once more, which"
            f" makes it the key of {setting}."
        )
        return Finding("key rotation", "ok", says)
    found = registry.key(following.kid)
    state = "not registered" if found is None or found[0].id != participant else "registered and not in force"
    says = (
        f"{old.kid} of {setting} is used; the next key {following.kid} is {state}: send what rotate-key prints to the"
        " operator and run rotate-key again when it is in force."
    )
    return Finding("key rotation", "ok", says)


def check_entry(
    settings: ConnectorSettings, registry: Registry, key: Signer, api_key: Signer, now: datetime
) -> list[Finding]:
    """Compare the registry's entry of this participant with the settings."""
    participant = registry.participant(settings.participant)
    if participant is None:
        return [_entry_wrong("The registry has no participant of this PARTICIPANT: ask the hub's operator to add it.")]
    findings = []
    if settings.source_uri not in participant.sources:
        findings.append(_entry_wrong("The registry does not give SOURCE_URI to this PARTICIPANT: correct one of them."))
    for private, use, setting in ((key, "message", "KEY_FILE"), (api_key, "api", "API_KEY_FILE")):
        found = registry.key(private.kid)
        if found is None or found[0].id != participant.id or found[1].use != use:
            says = f"The registry lacks the key of {setting} for {use} use: send its public half to the operator."
            findings.append(_entry_wrong(says))
        elif found[1].revoked_at is not None or not found[1].nbf <= now < found[1].exp:
            says = f"The key of {setting} is revoked, expired or not valid yet: make a new one and have it registered."
            findings.append(_entry_wrong(says))
    for topic in (f"from.{participant.id}", f"to.{participant.id}"):
        if registry.partitions(topic) is None:
            findings.append(_entry_wrong(f"The registry has no topic {topic}: ask the hub's operator to add it."))
    return findings or [Finding("registry entry", "ok", "Source, keys and topics of this participant are registered.")]


def _entry_wrong(says: str) -> Finding:
    return Finding("registry entry", "wrong", says)


async def _check_api(settings: ConnectorSettings, hub: HubClient) -> Finding:
    try:
        page = await hub.stream(f"to.{settings.participant}", 0, after=0, limit=1)
    except HubUnreachable as fault:
        return Finding("hub", "unreachable", str(fault))
    return Finding("hub", "ok", f"The hub's API knows this participant; its stream 0 stands at {page.last}.")


def check_certificate(certificate: Certificate, participant: str, now: datetime) -> Finding:
    """Say whether the brokers will know this participant by its certificate, and for how long."""
    names = [str(each.value) for each in certificate.subject]
    if names != [participant]:
        subject = ", ".join(names)
        says = f"The certificate is made out to {subject}: its whole subject must be the common name {participant}."
        return Finding("certificate", "wrong", says)
    ends = certificate.not_valid_after_utc
    if ends - now < CERTIFICATE_NOTICE:
        says = f"The certificate ends on {ends:%Y-%m-%d}: ask the operator for the next one, and restart with it."
        return Finding("certificate", "wrong", says)
    return Finding("certificate", "ok", f"The brokers know this participant by it until {ends:%Y-%m-%d}.")


async def _check_broker(broker: Broker, settings: ConnectorSettings, registry: Registry) -> Finding:
    topics = [f"from.{settings.participant}", f"to.{settings.participant}"]
    try:
        have = await broker.partitions(topics)
    except (KafkaError, OSError) as error:
        name = type(error).__name__
        return Finding("broker", "unreachable", f"The broker does not answer ({name}): check KAFKA_BOOTSTRAP.")
    for topic in topics:
        if topic not in have:
            says = f"The broker has no topic {broker.physical(topic)}: check TOPIC_PREFIX and the topic's rights."
            return Finding("broker", "wrong", says)
        if have[topic] < (registry.partitions(topic) or 0):
            says = f"The broker's {topic} has too few partitions: ask the hub's operator."
            return Finding("broker", "wrong", says)
    return Finding("broker", "ok", "The broker answers and has this participant's topics.")
