"""docs/reference/settings.md: what an operator and an agency may set, from the classes that read it."""

from collections.abc import Iterable

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from connectors.bank.profile import Profile
from connectors.bank.settings import BankSettings
from connectors.immigration.settings import ImmigrationSettings
from connectors.link.settings import ConnectorSettings
from connectors.ministry.__main__ import MinistrySettings
from devstack.agencies.scenario import APPLICATIONS_FOR_ALL, APPLICATIONS_MIN
from devstack.demo import APPLICATIONS_DEFAULT, SEED_DEFAULT
from hub.settings import Settings
from tests.docs.markdown import GENERATED, table

HEAD = ("variable", "default", "says")
AGENCIES: dict[str, type[ConnectorSettings]] = {
    "The ministry's connector": MinistrySettings,
    "A bank's connector": BankSettings,
    "Immigration's connector": ImmigrationSettings,
}

INTRODUCTION = f"""# Settings

{GENERATED}

Every process reads its settings from environment variables, once, when it starts. A secret is never a variable's value but a file: keys are PKCS#8 PEM files of mode 0600 that belong to the process' user, or stay in a token ([Keep keys in a token](../operations.md#keep-keys-in-a-token)). The only exceptions are `DATABASE_URL` and `REGISTER_URL`, which may hold a password; leave it out where PostgreSQL can check the login otherwise (`.pgpass`, a client certificate, peer). A setting that is missing or wrong is named in one sentence, never with its value, and the exit code is 2.

*Setiap proses membaca pengaturannya dari variabel lingkungan saat dimulai. Kunci privat selalu berupa berkas (PEM PKCS#8, mode 0600), bukan isi variabel. Pengaturan yang salah disebut namanya dalam satu kalimat, dengan kode keluar 2.*
"""  # noqa: E501

DEMO = f"""## The demo and the tests

| variable | default | says |
| --- | --- | --- |
| `APPLICATIONS` | `{APPLICATIONS_DEFAULT}` | How many applications the demo's day has; at least {APPLICATIONS_MIN}; from {APPLICATIONS_FOR_ALL} on each kind happens. |
| `SEED` | `{SEED_DEFAULT}` | Another seed is another day. The same seed and size give the same one. |
| `KEEP` |  | `1`: leave everything running; `make down` ends it. |
| `DEVSTACK` |  | `embedded` or `docker`: where Kafka and PostgreSQL come from. By default Docker where an engine answers, else embedded. |
| `KAFKA_BOOTSTRAP`, `DATABASE_URL` |  | A cluster and a database to use instead; both must be empty of anything that the demo has not made. |
| `PYTHON` |  | The interpreter for `.venv`; by default the first one that is new enough. |
"""  # noqa: E501

PROFILE = {
    "partner_id": "The bank's X-PARTNER-ID.",
    "client_key": "The bank's X-CLIENT-KEY for access tokens; by default its X-PARTNER-ID.",
    "bank_code": "The bank, 3 digits.",
    "mode": "`notified`: the money is taken, every authentic call is recorded. `authorised`: the bank holds the money "
    "until it is answered from the bills known here.",
    "public_key_pem_file": "The bank's RSA public key (PEM, at least 2048 bits), beside the profile or with its path.",
    "signature": "`asymmetric` (RSA, no token) or `symmetric` (HMAC under an access token).",
    "client_secret_file": "The secret of symmetric signatures: a file of mode 0600.",
    "timestamp_tolerance_s": "How far X-TIMESTAMP may be from this machine's clock, in seconds.",
    "timestamp_forms": "The forms of X-TIMESTAMP that this bank writes: `seconds`, `milliseconds`, `basic`.",
    "body_hash": "`base64` for a bank that writes the body's hash so; the standard is `hex`.",
    "empty_body": "`empty` for a bank that signs an empty body as nothing; the standard is its hash, `hashed`.",
    "billing_code_at": "Where the billing code stands in the body.",
    "ntpn_at": "Where the NTPN stands in the body.",
    "bank_reference_at": "Where the bank's own reference stands in the body.",
    "addresses": "Networks from which calls may come; without one, from anywhere.",
    "listener": "An address of this partner's own with mutual TLS.",
    "statement_dir": "Where this partner's statements are dropped, if not in STATEMENT_DIR.",
    "status": "The bank's status service, for payments whose fate is unclear.",
}


def write_page() -> str:
    """Return the page."""
    common = ConnectorSettings.model_fields
    sections = [INTRODUCTION, "## The hub\n", table(HEAD, _rows(Settings, Settings.model_fields))]
    sections += ["## Every connector\n", table(HEAD, _rows(ConnectorSettings, common))]
    for title, settings in AGENCIES.items():
        own = [name for name in settings.model_fields if name not in common]
        sections += [f"## {title}\n", table(HEAD, _rows(settings, own))]
    profile = [(f"`{name}`", _default(Profile.model_fields[name]), says) for name, says in PROFILE.items()]
    sections += ["### The SNAP profile of a bank\n", table(("member", "default", "says"), profile)]
    return "\n".join((*sections, DEMO))


def _rows(settings: type[BaseSettings], names: Iterable[str]) -> list[tuple[str, str, str]]:
    rows = []
    for name in names:
        field = settings.model_fields[name]
        assert field.description, f"{settings.__name__}.{name} has no description"
        rows.append((f"`{name.upper()}`", _default(field), field.description))
    return rows


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    return "" if field.default in (None, "") else f"`{field.default}`"
