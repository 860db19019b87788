"""What was agreed with each partner bank about its SNAP calls: read from the file that SNAP_PROFILE_FILE names.

    {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "bri.pem"}

or a list of such objects, one for each partner. Strict by default: a form that the profile does not name is never
tried. Files that a profile names lie beside it unless their path is absolute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from connectors.bank import snap
from connectors.link.fault import SettingsFault
from contracts import fields
from keys.fault import KeyFault
from keys.files import read_secret

RSA_BITS_MIN: Final = 2048
SECRET_CHARACTERS_MIN: Final = 16
PARTNERS_MAX: Final = 64

_Printable = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,36}$")]
_Place = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}(\.[A-Za-z0-9_]{1,64}){0,5}$")]
_Path = Annotated[str, Field(pattern=r"^/[\x21-\x7e]{1,200}$")]

SignatureKind = Literal["asymmetric", "symmetric"]


class _Agreed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Listener(_Agreed):
    """An address of this partner's own, with mutual TLS: nobody without one of its certificates gets through."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)]
    certificate_pem_file: Path
    private_key_pem_file: Path
    client_certificates_pem_file: Path


class StatusService(_Agreed):
    """The bank's own service that tells what became of a payment, and who this connector is there."""

    url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+$")]
    path: _Path = "/v1.0/transfer-va/status"
    service_code: Annotated[str, Field(pattern=r"^[0-9]{2}$")] = "26"
    token_path: _Path = "/v1.0/access-token/b2b"  # noqa: S105  # A path, not a secret.
    signature: SignatureKind = "asymmetric"
    partner_id: _Printable
    client_key: _Printable | None = None
    channel_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,5}$")] = "95051"
    private_key_pem_file: Path
    client_secret_file: Path | None = None
    ask_after_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0


class Profile(_Agreed):
    """One partner bank. What is not said is the standard's; `mode` says what a call of this bank means.

    `timestamp_forms`: seconds (2026-04-01T10:00:00+07:00 or Z), milliseconds, basic (20260401T100000Z).
    `billing_code_at`, `ntpn_at`, `bank_reference_at`: dotted places in the body; a number is a place in a list.
    `addresses`: the networks from which calls may come; without one, from anywhere.
    """

    partner_id: _Printable
    client_key: _Printable | None = None
    bank_code: fields.BankCode
    mode: Literal["notified", "authorised"] = "notified"
    public_key_pem_file: Path
    signature: SignatureKind = "asymmetric"
    client_secret_file: Path | None = None
    timestamp_tolerance_s: Annotated[int, Field(ge=1, le=86_400)] = 900
    timestamp_forms: tuple[Literal["seconds", "milliseconds", "basic"], ...] = ("seconds", "milliseconds")
    body_hash: Literal["hex", "base64"] = "hex"
    empty_body: Literal["hashed", "empty"] = "hashed"
    billing_code_at: _Place = "additionalInfo.billingCode"
    ntpn_at: _Place = "additionalInfo.ntpn"
    bank_reference_at: _Place = "referenceNo"
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    listener: Listener | None = None
    statement_dir: Path | None = None
    status: StatusService | None = None

    @property
    def hash_form(self) -> snap.HashForm:
        """How this bank writes the body's hash."""
        return snap.HashForm(base64=self.body_hash == "base64", empty_for_empty_body=self.empty_body == "empty")


@dataclass(frozen=True, slots=True)
class StatusAccess:
    """What is needed to ask a bank's status service; `secret` only where the bank wants symmetric signatures."""

    service: StatusService
    key: rsa.RSAPrivateKey
    secret: str | None


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner bank with its keys; `secret` only where it signs symmetrically."""

    profile: Profile
    key: rsa.RSAPublicKey
    secret: str | None = None
    status: StatusAccess | None = None


class Partners:
    """The partner banks of one connector, by the two names that calls give."""

    def __init__(self, partners: tuple[Partner, ...]) -> None:
        self.all = partners
        self.by_id: Mapping[str, Partner] = {each.profile.partner_id: each for each in partners}
        self.by_client_key: Mapping[str, Partner] = {
            each.profile.client_key or each.profile.partner_id: each for each in partners
        }


_SEVERAL: Final = TypeAdapter(Annotated[list[Profile], Field(min_length=1, max_length=PARTNERS_MAX)])


def read_partners(file: Path) -> Partners:
    """Return the partners that the profile file names.

    Raises SettingsFault, in one sentence that names the file and what is wrong with it.
    """
    try:
        text = file.read_bytes()
        several = text.lstrip().startswith(b"[")
        profiles = _SEVERAL.validate_json(text) if several else [Profile.model_validate_json(text)]
    except OSError as error:
        raise SettingsFault(f"The SNAP profile {file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise SettingsFault(f"The SNAP profile {file} cannot be used: {place}: {first['msg']}.") from None
    partners = Partners(tuple(_read_partner(profile, file.parent) for profile in profiles))
    if not len(partners.by_id) == len(partners.by_client_key) == len(profiles):
        raise SettingsFault(f"The SNAP profile {file} gives two partners the same partner_id or client_key.")
    return partners


def _read_partner(profile: Profile, folder: Path) -> Partner:
    key_file = folder / profile.public_key_pem_file
    key = snap.read_public_key(_read_file(key_file, "The bank's public key"))
    if key is None or key.key_size < RSA_BITS_MIN:
        raise SettingsFault(f"{key_file} holds no RSA public key of at least {RSA_BITS_MIN} bits in PEM.")
    files = ("certificate_pem_file", "private_key_pem_file", "client_certificates_pem_file")
    listener = profile.listener and profile.listener.model_copy(
        update={name: folder / getattr(profile.listener, name) for name in files}
    )
    if listener is not None:
        _check_private(listener.private_key_pem_file)
    update = {"listener": listener, "statement_dir": profile.statement_dir and folder / profile.statement_dir}
    secret = _read_secret(profile.signature, profile.client_secret_file, folder, profile.partner_id)
    status = None if profile.status is None else _read_status(profile.status, folder)
    return Partner(profile.model_copy(update=update), key, secret, status)


def _check_private(file: Path) -> None:
    """Make sure that nobody else may read a key that another library reads. Raises SettingsFault."""
    try:
        read_secret(file)
    except KeyFault as fault:
        raise SettingsFault(f"The listener's private key {file} {fault}.") from None


def _read_status(service: StatusService, folder: Path) -> StatusAccess:
    key_file = folder / service.private_key_pem_file
    try:
        key = load_pem_private_key(read_secret(key_file), password=None)
    except KeyFault as fault:
        raise SettingsFault(f"The key for the bank's status service {key_file} {fault}.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < RSA_BITS_MIN:
        raise SettingsFault(f"{key_file} holds no RSA private key of at least {RSA_BITS_MIN} bits in PEM.")
    secret = _read_secret(service.signature, service.client_secret_file, folder, service.partner_id)
    return StatusAccess(service, key, secret)


def _read_secret(signature: SignatureKind, file: Path | None, folder: Path, partner_id: str) -> str | None:
    if signature == "asymmetric":
        return None
    if file is None:
        raise SettingsFault(f"The SNAP profile of {partner_id} signs symmetrically: it must name client_secret_file.")
    try:
        secret = read_secret(folder / file).decode("utf-8").strip()
    except KeyFault as fault:
        raise SettingsFault(f"The client secret {folder / file} {fault.says}.") from None
    except UnicodeDecodeError:
        secret = ""
    if len(secret) < SECRET_CHARACTERS_MIN:
        raise SettingsFault(f"{folder / file} holds no secret of at least {SECRET_CHARACTERS_MIN} characters.")
    return secret


def _read_file(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsFault(f"{what} {file} cannot be read: {error.strerror}.") from None
