"""Who takes part in the demo: keys, the registry's document, databases, ports, and each process's own settings."""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from devstack.agencies.scenario import HOLDING_BANK, write_instant
from devstack.certificates import Authority
from devstack.demonstration.keys import (
    LOG_KEY,
    WITNESS_KEY,
    SigningKey,
    make_key,
    make_rsa_key,
    make_seal_key,
    write_secret,
    write_verifier_key,
)
from devstack.demonstration.persons import PERSONS, write_roots
from devstack.kafka import ADMINISTRATION_NAME
from devstack.ports import LOCALHOST, find_free_ports
from devstack.roles import OWNER, create_logins
from devstack.stack import Stack

ENVIRONMENT = "demo"
LOOKUPS_KEY = "kpk.lookups"
LOG_ORIGIN = "hub.example/demo"
# What the certificates of the hub's processes for Kafka are made out to; the other processes do not speak to it.
PRINCIPALS = {"intake": "hub.intake", "relay": "hub.relay"}
WITNESS_NAME = "kpk.example/witness"
BANK_CODES = {"bri": "002", "mandiri": "008"}
ALGORITHMS = {"ministry": "Ed25519", "bri": "Ed25519", "mandiri": "ES256", "immigration": "Ed25519", "hub": "Ed25519"}
AGENCIES = ("ministry", "bri", "mandiri", "immigration")
BRANCH_SOURCE = "https://bri.example/tka/cabang"
UNKNOWN_CONTRACT = "id.tka.bank.payment.received.v2"
INTAKES = 2
EXPLAINING_BANK = "bri"
# How far the banks' clocks are ahead: both wrong, and both within what SNAP allows.
CLOCK_SKEWS_S = {"bri": -420, "mandiri": 300}
STATUS_CLIENT = "TKA-HUB"
TOKENS = ("events.token", *(f"{bank}.explanation.token" for bank in BANK_CODES))
KEY_VALIDITY = timedelta(days=365)

# Short, so that a run of half a minute sees what takes minutes or a day in service.
LIMITS = {
    "expiry_days_max": 90,
    "clock_skew_s": 300,
    "deferral_s": 20,
    "unmatched_s": 6,
    "heartbeat_s": 2,
    "witness_grace_s": 60,
}
TOPICS = {
    **{f"from.{agency}": 2 for agency in AGENCIES},
    **{f"to.{agency}": 1 for agency in AGENCIES},
    "recommendations": 2,
}
MINISTRY_TYPES = (
    *("permit.submitted", "permit.deficiency_notified", "permit.resubmitted", "permit.completed"),
    *("permit.feasibility_assessed", "permit.worker_verified", "permit.approved", "permit.amended"),
    *("permit.rejected", "permit.revoked", "permit.expired", "extension.requested", "employment.ended"),
    *("exemption.granted", "query.answered", "billing.issued", "billing.expired", "billing.cancelled"),
    "difference.explained",
    "count.stated",
)
BANK_TYPES = ("payment.received", "payment.booked", "payment.reversed", "difference.explained", "count.stated")
IMMIGRATION_TYPES = (
    *("recommendation.acknowledged", "recommendation.queried", "visa.approved", "visa.refused", "visa.revoked"),
    *("stay_permit.issued", "entry.recorded", "exit.recorded"),
    "count.stated",
)
RECOMMENDATION_TYPES = ("id.tka.hub.recommendation.issued.v1", "id.tka.hub.recommendation.withdrawn.v1")
OUTCOME_TYPE = "id.tka.hub.payment.outcome.v1"
BILL_TYPES = ("id.tka.hub.bill.opened.v1", "id.tka.hub.bill.closed.v1")
RECONCILIATION_TYPES = (
    *(f"id.tka.hub.difference.{step}.v1" for step in ("opened", "explained", "closed")),
    "id.tka.hub.reconciliation.reported.v1",
)


def _types(kind: str, names: tuple[str, ...]) -> list[str]:
    return [f"id.tka.{kind}.{name}.v1" for name in names]


SUBSCRIPTIONS = {
    "ministry": [
        *RECOMMENDATION_TYPES,
        OUTCOME_TYPE,
        *RECONCILIATION_TYPES,
        *_types("immigration", IMMIGRATION_TYPES[:-1]),
        "id.tka.bank.difference.explained.v1",
    ],
    "bri": [*BILL_TYPES, OUTCOME_TYPE, *RECONCILIATION_TYPES],
    "mandiri": [*BILL_TYPES, OUTCOME_TYPE, *RECONCILIATION_TYPES],
    "immigration": [*RECOMMENDATION_TYPES, "id.tka.ministry.query.answered.v1"],
}
PUBLICATIONS = {
    "ministry": _types("ministry", MINISTRY_TYPES),
    # The registry already grants a version that the exchange does not know yet: its first message must wait, not fail.
    "bri": [*_types("bank", BANK_TYPES), UNKNOWN_CONTRACT],
    "mandiri": _types("bank", BANK_TYPES),
    "immigration": _types("immigration", IMMIGRATION_TYPES),
}
NAMES = {
    "ministry": "Kementerian Ketenagakerjaan",
    "bri": "Bank BRI",
    "mandiri": "Bank Mandiri",
    "immigration": "Direktorat Jenderal Imigrasi",
    "hub": "TKA Exchange Hub",
    "kpk": "Komisi Pemberantasan Korupsi",
}


@dataclass(frozen=True, slots=True)
class Services:
    """Where Kafka is, and the databases that were made for the hub, the ministry and the ministry's connector.

    `database_url` is that of the hub's owner; `logins` are those of its processes by role, or none on foreign ground.
    `authority` signs the certificates that Kafka asks for; None where it asks for none.
    """

    bootstrap: str
    topic_prefix: str
    database_url: str
    register_owner_url: str
    register_url: str
    connector_role: str
    logins: Mapping[str, str] = field(default_factory=dict)
    authority: Authority | None = None

    def kafka_settings(self, name: str) -> dict[str, str]:
        """Return the settings by which a process reaches Kafka under a certificate of this name, if it needs one."""
        where = {"KAFKA_BOOTSTRAP": self.bootstrap, "TOPIC_PREFIX": self.topic_prefix}
        return where if self.authority is None else where | self.authority.certify(name).write_environment()

    def kafka_options(self) -> dict[str, Any]:
        """Return how the driver itself reaches Kafka: as the administration, since it looks at everything."""
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap}
        if self.authority is not None:
            context = self.authority.certify(ADMINISTRATION_NAME).open_context()
            options |= {"security_protocol": "SSL", "ssl_context": context}
        return options


@dataclass(frozen=True, slots=True)
class Cast:
    """Everything that the demo's processes are given, and the driver's own copies of the keys."""

    folder: Path
    start: datetime
    seed: int
    applications: int
    services: Services
    ports: dict[str, int]
    root: SigningKey
    message_keys: dict[str, SigningKey]
    api_keys: dict[str, SigningKey]
    branch_key: SigningKey
    stranger_key: SigningKey
    person_keys: dict[str, SigningKey]
    log_key: SigningKey
    witness_key: SigningKey
    snap_keys: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    status_keys: dict[str, tuple[Path, Path]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """Return the address of a process by its port's name."""
        return f"http://{LOCALHOST}:{self.ports[name]}"

    def source(self, participant: str) -> str:
        """Return the source that a participant's connector writes in its events."""
        return f"https://{participant}.example/tka"


def call_cast(services: Services, folder: Path, seed: int, applications: int) -> Cast:
    """Make keys and choose ports for one run, and write the files that processes read."""
    for name in ("keys", "spool", "statements", "profiles"):
        (folder / name).mkdir(parents=True)
    keys = folder / "keys"
    keys.chmod(0o700)
    cast = Cast(
        folder=folder,
        start=datetime.now(UTC).replace(microsecond=0),
        seed=seed,
        applications=applications,
        services=services,
        ports=_choose_ports(),
        root=make_key(keys, "root", "Ed25519"),
        message_keys={name: make_key(keys, f"{name}.message", alg) for name, alg in ALGORITHMS.items()},
        api_keys={name: make_key(keys, f"{name}.api", "Ed25519") for name in (*AGENCIES, "kpk")},
        branch_key=make_key(keys, "bri.branch", "Ed25519"),
        stranger_key=make_key(keys, "stranger", "Ed25519"),
        person_keys={
            name: make_key(keys, f"person.{name}", alg) for name, alg in zip(PERSONS, ("Ed25519", "ES256"), strict=True)
        },
        log_key=make_key(keys, "log", "Ed25519"),
        witness_key=make_key(keys, "witness", "Ed25519"),
        snap_keys={bank: make_rsa_key(keys, f"{bank}.snap") for bank in BANK_CODES},
        status_keys={bank: make_rsa_key(keys, f"{bank}.status") for bank in BANK_CODES},
    )
    make_seal_key(keys, LOOKUPS_KEY)
    for name in (*(f"{bank}.{use}.secret" for bank in BANK_CODES for use in ("snap", "status")), *TOKENS):
        write_secret(keys / name)
    (folder / "root.jwk.json").write_text(json.dumps(cast.root.jwk))
    (folder / "roots.json").write_text(write_roots(ENVIRONMENT, cast.root, cast.person_keys, cast.start))
    for name, text in _write_verifier_keys(cast).items():
        (folder / f"{name}.vkey").write_text(f"{text}\n")
    (folder / "registry.json").write_text(json.dumps(_write_registry(cast), indent=1))
    (folder / "branch.json").write_text(json.dumps(_describe(cast, "bri", branch=True), indent=1))
    for bank, (_, public) in cast.snap_keys.items():
        (folder / "statements" / bank).mkdir()
        (folder / "profiles" / f"{bank}.json").write_text(json.dumps(_write_profile(bank, public)))
    return cast


def provide_services(stack: Stack) -> Services:
    """Give the hub and the ministry a database and a role each, and the ministry's connector a role in the register."""
    postgres, urls = stack.postgres, []
    for name in ("exchange", "register"):
        role, database, password = postgres.name(f"{name}_owner"), postgres.name(name), secrets.token_urlsafe(16)
        postgres.execute(
            f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{password}'", f'CREATE DATABASE "{database}" OWNER "{role}"'
        )
        urls.append(postgres.dsn_of(database, role, password))
    connector, password = postgres.name("register_connector"), secrets.token_urlsafe(16)
    postgres.execute(f"CREATE ROLE \"{connector}\" LOGIN PASSWORD '{password}'")
    connector_url = postgres.dsn_of(postgres.name("register"), connector, password)
    logins = create_logins(postgres, postgres.name("exchange"))
    kafka = stack.kafka
    return Services(
        kafka.bootstrap, stack.run.prefix, urls[0], urls[1], connector_url, connector, logins, kafka.authority
    )  # fmt: skip


def _choose_ports() -> dict[str, int]:
    names = [
        *("hub-api", "hub-relay", "hub-deadlines", "hub-sequencer", "witness", "immigration-system"),
        *(f"hub-intake-{number + 1}" for number in range(INTAKES)),
        *(f"{kind}-{agency}" for kind in ("agency", "connector") for agency in AGENCIES),
    ]
    return dict(zip(names, find_free_ports(len(names)), strict=True))


def _write_profile(bank: str, public_key: Path) -> dict[str, Any]:
    return {
        "partner_id": f"{bank.upper()}-TKA",
        "bank_code": BANK_CODES[bank],
        "public_key_pem_file": str(public_key),
        "timestamp_tolerance_s": 900,
    }


def write_full_profiles(cast: Cast, bank_urls: Mapping[str, str]) -> None:
    """Let each bank speak SNAP in its own way: one signs symmetrically and holds the money, and both can be asked.

    `bank_urls`: where the banks' own status services are.
    """
    keys = cast.folder / "keys"
    for bank, url in bank_urls.items():
        symmetric = bank == HOLDING_BANK
        signature = {"signature": "symmetric" if symmetric else "asymmetric"}
        status = {
            **signature,
            "url": url,
            "partner_id": STATUS_CLIENT,
            "private_key_pem_file": str(cast.status_keys[bank][0]),
            "ask_after_s": 1,
        }
        profile = _write_profile(bank, cast.snap_keys[bank][1]) | signature
        if symmetric:
            profile |= {"mode": "authorised", "client_secret_file": str(keys / f"{bank}.snap.secret")}
            status |= {"client_secret_file": str(keys / f"{bank}.status.secret")}
        (cast.folder / "profiles" / f"{bank}.json").write_text(json.dumps(profile | {"status": status}))


def _write_verifier_keys(cast: Cast) -> dict[str, str]:
    return {
        "log": write_verifier_key(cast.log_key, LOG_ORIGIN, LOG_KEY),
        "witness": write_verifier_key(cast.witness_key, WITNESS_NAME, WITNESS_KEY),
    }


def _write_registry(cast: Cast) -> dict[str, Any]:
    verifier_keys = _write_verifier_keys(cast)
    return {
        "settings": {
            "environment": ENVIRONMENT,
            "log_origin": LOG_ORIGIN,
            "log_keys": [verifier_keys["log"]],
            "witnesses": [verifier_keys["witness"]],
            "proof_required": True,
            "limits": LIMITS,
            "topics": TOPICS,
        },
        "participants": [_describe(cast, name) for name in NAMES],
    }


def _describe(cast: Cast, name: str, branch: bool = False) -> dict[str, Any]:
    """Return a participant of the registry. `branch`: with the second signer's key beside the first."""
    kind = {"bri": "bank", "mandiri": "bank", "kpk": "oversight"}.get(name, name)
    keys = []
    if name in cast.message_keys:
        keys.append(_enter_key(cast, cast.message_keys[name], "message"))
    if branch:
        keys.append(_enter_key(cast, cast.branch_key, "message"))
    if name in cast.api_keys:
        keys.append(_enter_key(cast, cast.api_keys[name], "api"))
    sources = [] if name == "kpk" else [cast.source(name)]
    return {
        "id": name,
        "kind": kind,
        "name": NAMES[name],
        "bank_code": BANK_CODES.get(name),
        "sources": [*sources, BRANCH_SOURCE] if name == "bri" else sources,
        "keys": keys,
        "publishes": PUBLICATIONS.get(name, []),
        "subscribes": [{"type": event_type, "filter": {}} for event_type in SUBSCRIPTIONS.get(name, [])],
    }


def _enter_key(cast: Cast, key: SigningKey, use: str) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "alg": key.alg,
        "use": use,
        "jwk": key.jwk,
        # An hour back: a machine whose clock is a little behind must not refuse the first message.
        "nbf": write_instant(cast.start - timedelta(hours=1)),
        "exp": write_instant(cast.start + KEY_VALIDITY),
        "revoked_at": None,
    }


def _base_environment() -> dict[str, str]:
    # Nothing of the person at the terminal goes in but what a process needs to run at all.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", "")}


def hub_environment(cast: Cast, process: str = "", role: str = OWNER) -> dict[str, str]:
    """Return the settings of a hub process, or of a command that the owner or a `role` of the database runs.

    `process`: its port's name, for the ones that show metrics.
    """
    role = process.split("-")[1] if process else role
    settings = {
        "DATABASE_URL": cast.services.logins.get(role, cast.services.database_url),
        **cast.services.kafka_settings(PRINCIPALS.get(role, ADMINISTRATION_NAME)),
        "TRUST_ROOT_FILE": str(cast.folder / "root.jwk.json"),
        "HUB_API_HOST": LOCALHOST,
        "HUB_API_PORT": str(cast.ports["hub-api"]),
        "HUB_API_URL": cast.url("hub-api"),
    }
    if process == "hub-relay":
        settings["HUB_KEY_FILE"] = str(cast.message_keys["hub"].file)
    if process == "hub-sequencer":
        settings |= {"LOG_KEY_FILE": str(cast.log_key.file), "WITNESS_URLS": cast.url("witness")}
    if process in ("hub-api", "hub-deadlines"):
        settings["OVERSIGHT_SEAL_KEY_FILE"] = str(cast.folder / "keys" / f"{LOOKUPS_KEY}.pub.pem")
    if process and process != "hub-api":
        settings["METRICS_PORT"] = str(cast.ports[process])
    return _base_environment() | settings


def connector_environment(cast: Cast, agency: str) -> dict[str, str]:
    """Return the settings of an agency's connector."""
    spool = cast.folder / "spool" / agency
    spool.mkdir(exist_ok=True)
    settings = {
        "PARTICIPANT": agency,
        "SOURCE_URI": cast.source(agency),
        "KEY_FILE": str(cast.message_keys[agency].file),
        "API_KEY_FILE": str(cast.api_keys[agency].file),
        "HUB_API_URL": cast.url("hub-api"),
        **cast.services.kafka_settings(agency),
        "TRUST_ROOT_FILE": str(cast.folder / "root.jwk.json"),
        "SPOOL_DIR": str(spool),
        "HTTP_HOST": LOCALHOST,
        "HTTP_PORT": str(cast.ports[f"connector-{agency}"]),
        "REGISTRY_REFRESH_S": "2",
    }
    if agency == "ministry":
        settings["REGISTER_URL"] = cast.services.register_url
        settings["EVENTS_TOKEN_FILE"] = str(cast.folder / "keys" / "events.token")
    elif agency == "immigration":
        settings["VISA_SYSTEM_URL"] = cast.url("immigration-system")
    else:
        settings["STATEMENT_DIR"] = str(cast.folder / "statements" / agency)
        settings["SNAP_PROFILE_FILE"] = str(cast.folder / "profiles" / f"{agency}.json")
        settings["EXPLANATION_TOKEN_FILE"] = str(cast.folder / "keys" / f"{agency}.explanation.token")
    return _base_environment() | settings


def agency_environment(cast: Cast, agency: str) -> dict[str, str]:
    """Return the settings of an agency's simulator."""
    settings = {
        "SEED": str(cast.seed),
        "APPLICATIONS": str(cast.applications),
        "START": write_instant(cast.start),
        "DOOR_PORT": str(cast.ports[f"agency-{agency}"]),
    }
    if agency == "ministry":
        settings |= {
            "REGISTER_OWNER_URL": cast.services.register_owner_url,
            "CONNECTOR_ROLE": cast.services.connector_role,
            "EVENTS_URL": cast.url("connector-ministry"),
            "EVENTS_TOKEN_FILE": str(cast.folder / "keys" / "events.token"),
        }
    elif agency == "immigration":
        settings["SYSTEM_PORT"] = str(cast.ports["immigration-system"])
    else:
        settings |= {
            "BANK": agency,
            "SNAP_URL": cast.url(f"connector-{agency}"),
            "SNAP_KEY_FILE": str(cast.snap_keys[agency][0]),
            "SNAP_PARTNER_ID": f"{agency.upper()}-TKA",
            "STATEMENT_DIR": str(cast.folder / "statements" / agency),
            "ACCOUNT": f"KAS-NEGARA-{BANK_CODES[agency]}",
            "CLOCK_SKEW_S": str(CLOCK_SKEWS_S[agency]),
            "STATUS_CLIENT": STATUS_CLIENT,
            "STATUS_KEY_FILE": str(cast.status_keys[agency][1]),
        }
        if agency == HOLDING_BANK:
            secrets_of = {"SNAP_SECRET_FILE": "snap", "STATUS_SECRET_FILE": "status"}
            settings |= {name: str(cast.folder / "keys" / f"{agency}.{use}.secret") for name, use in secrets_of.items()}
            settings["HOLDS"] = "1"
    return _base_environment() | settings


def write_environment(cast: Cast) -> str:
    """Return the lines of `build/demo/env`, to be sourced by a shell."""
    values = {
        **cast.services.kafka_settings(ADMINISTRATION_NAME),
        "DATABASE_URL": cast.services.database_url,
        "HUB_API_URL": cast.url("hub-api"),
        "HUB_INTAKE_URL": cast.url("hub-intake-1"),
        "HUB_RELAY_URL": cast.url("hub-relay"),
        "HUB_DEADLINES_URL": cast.url("hub-deadlines"),
        "HUB_SEQUENCER_URL": cast.url("hub-sequencer"),
        "WITNESS_URL": cast.url("witness"),
        "LOG_VKEY_FILE": str(cast.folder / "log.vkey"),
        "WITNESS_VKEY_FILE": str(cast.folder / "witness.vkey"),
        "TRUST_ROOT_FILE": str(cast.folder / "root.jwk.json"),
        "HUB_KEY_FILE": str(cast.message_keys["hub"].file),
        "ROOT_KEY_FILE": str(cast.root.file),
        "ROOTS_FILE": str(cast.folder / "roots.json"),
        **{f"{name.upper()}_KEY_FILE": str(key.file) for name, key in cast.person_keys.items()},
        "REGISTER_URL": cast.services.register_url,
        "VISA_SYSTEM_URL": cast.url("immigration-system"),
    }
    for agency in AGENCIES:
        values[f"{agency.upper()}_URL"] = cast.url(f"agency-{agency}")
        values[f"{agency.upper()}_CONNECTOR_URL"] = cast.url(f"connector-{agency}")
        values[f"{agency.upper()}_SPOOL_DIR"] = str(cast.folder / "spool" / agency)
        values[f"{agency.upper()}_API_KEY_FILE"] = str(cast.api_keys[agency].file)
    for bank in BANK_CODES:
        values[f"{bank.upper()}_STATEMENT_DIR"] = str(cast.folder / "statements" / bank)
    return "".join(f"export {name}='{value}'\n" for name, value in values.items())


def process_commands(cast: Cast) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return every process of the exchange: its command and its whole environment, by name."""
    python, commands = sys.executable, {}
    for agency in AGENCIES:
        module = "bank" if agency in BANK_CODES else agency
        commands[f"agency-{agency}"] = (
            [python, "-m", f"devstack.agencies.{module}"],
            agency_environment(cast, agency),
        )
        commands[f"connector-{agency}"] = (
            [python, "-m", f"connectors.{module}", "run"],
            connector_environment(cast, agency),
        )
    commands["witness"] = _witness_command(cast), _base_environment()
    intakes = (f"hub-intake-{number + 1}" for number in range(INTAKES))
    for name in (*intakes, "hub-relay", "hub-deadlines", "hub-sequencer", "hub-api"):
        command = name.split("-")[1]
        commands[name] = ([python, "-m", "hub.cli", command], hub_environment(cast, name))
    return commands


def _witness_command(cast: Cast) -> list[str]:
    """Return the command of the oversight body's witness, which is given the log's public key and its own alone."""
    files = ["--key", str(cast.witness_key.file), "--log-key", str(cast.folder / "log.vkey")]
    memory = ["--state", str(cast.folder / "witness.sqlite")]
    place = ["--host", LOCALHOST, "--port", str(cast.ports["witness"])]
    return [sys.executable, "-m", "connectors.oversight", "witness", "--name", WITNESS_NAME, *files, *memory, *place]
