"""What was agreed with one bank about its SNAP calls: read from the file that SNAP_PROFILE_FILE names.

    {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "bri.pem", "timestamp_tolerance_s": 900}

Strict by default: a form that the profile does not name is never tried.
"""

from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.bank import snap
from connectors.link.fault import SettingsFault
from contracts import fields

RSA_BITS_MIN = 2048


class Profile(BaseModel):
    """One partner bank; `body_hash` and `empty_body` are deviations from the standard that some banks have."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    partner_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,36}$")]
    bank_code: fields.BankCode
    public_key_pem_file: Path
    timestamp_tolerance_s: Annotated[int, Field(ge=1, le=86_400)] = 900
    body_hash: Literal["hex", "base64"] = "hex"
    empty_body: Literal["hashed", "empty"] = "hashed"

    @property
    def hash_form(self) -> snap.HashForm:
        """How this bank writes the body's hash."""
        return snap.HashForm(base64=self.body_hash == "base64", empty_for_empty_body=self.empty_body == "empty")


def read_profile(file: Path) -> tuple[Profile, rsa.RSAPublicKey]:
    """Return the profile and the bank's public key; a relative key file lies beside the profile.

    Raises SettingsFault, in one sentence that names the file and what is wrong with it.
    """
    try:
        profile = Profile.model_validate_json(file.read_bytes())
    except OSError as error:
        raise SettingsFault(f"The SNAP profile {file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise SettingsFault(f"The SNAP profile {file} cannot be used: {place}: {first['msg']}.") from None
    key_file = file.parent / profile.public_key_pem_file
    try:
        key = snap.read_public_key(key_file.read_bytes())
    except OSError as error:
        raise SettingsFault(f"The bank's public key {key_file} cannot be read: {error.strerror}.") from None
    if key is None or key.key_size < RSA_BITS_MIN:
        raise SettingsFault(f"{key_file} holds no RSA public key of at least {RSA_BITS_MIN} bits in PEM.")
    return profile, key
