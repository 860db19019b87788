"""SNAP's access token for business partners (service 73): who may ask, what it is given, what it is worth. Pure.

    POST /v1.0/access-token/b2b      {"grantType": "client_credentials"}
    X-CLIENT-KEY, X-TIMESTAMP, X-SIGNATURE: base64(RSA-SHA256(clientKey|timestamp))

A token says itself whose it is and until when, under a MAC; nothing is kept of it. So it is worth the same after a
restart and at every process of this connector, which all derive the MAC's key from the connector's own key.
"""

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.bank import snap
from connectors.bank.snap_answer import (
    BAD_REQUEST,
    INVALID_FORMAT,
    MISSING_FIELD,
    SUCCESSFUL,
    UNAUTHORIZED,
    Answer,
    Call,
    SnapRefusal,
    read_object,
)
from contracts.wire.key import Signer

PATH: Final = "/v1.0/access-token/b2b"
SERVICE_CODE: Final = "73"
EXPIRES_S: Final = 900
GRANT: Final = "client_credentials"
TOKEN_CHARACTERS_MAX: Final = 512

_KEY_LABEL = b"tkahub-snap-token/1"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Makes and judges access tokens under one secret key."""

    key: bytes

    @staticmethod
    def of(key: Signer) -> "Tokens":
        """Return the tokens of the connector that holds this key.

        Signatures of this project are deterministic, so every process that holds the key derives the same secret; the
        label is no message of the wire protocol, so nobody is ever given this signature.
        """
        return Tokens(hmac.digest(key.sign(_KEY_LABEL), _KEY_LABEL, "sha256"))

    def issue(self, partner_id: str, now: datetime, nonce: str) -> str:
        """Return a token for `partner_id` that is good for EXPIRES_S from `now`."""
        said = json.dumps([partner_id, int(now.timestamp()) + EXPIRES_S, nonce], separators=(",", ":")).encode("utf-8")
        return f"{_write(said)}.{_write(hmac.digest(self.key, said, 'sha256'))}"

    def verify(self, token: str, partner_id: str, now: datetime) -> bool:
        """Tell whether this is a token of `partner_id` that has not expired."""
        if len(token) > TOKEN_CHARACTERS_MAX:
            return False
        said, _, mac = (_read(part) for part in token.partition("."))
        if said is None or mac is None or not hmac.compare_digest(hmac.digest(self.key, said, "sha256"), mac):
            return False
        # What bears our MAC was written here.
        owner, expires_s, _ = json.loads(said)
        return bool(owner == partner_id and now.timestamp() < expires_s)


def _write(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _read(text: str) -> bytes | None:
    """Return the bytes of canonical unpadded base64url, None for anything else."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return raw if _write(raw) == text else None


def read_grant(call: Call) -> None:
    """Raise SnapRefusal 4007300, 4007301 or 4007302 unless the body asks for the one grant there is."""
    if not call.body:
        raise SnapRefusal(BAD_REQUEST, "[the body is empty]")
    grant = read_object(call).get("grantType")
    if grant in (None, ""):
        raise SnapRefusal(MISSING_FIELD, "{grantType}")
    if grant != GRANT:
        raise SnapRefusal(INVALID_FORMAT, "{grantType}")


def verify_request(call: Call, key: rsa.RSAPublicKey) -> None:
    """Raise SnapRefusal 4017300 unless the client's key signed the request."""
    text = snap.token_text(call.header("X-CLIENT-KEY"), call.header("X-TIMESTAMP"))
    if not snap.verify_asymmetric(text, key, call.optional("X-SIGNATURE")):
        raise SnapRefusal(UNAUTHORIZED, "[Signature]")


def grant_token(token: str) -> Answer:
    """Return 2007300 with the token."""
    more = {"accessToken": token, "tokenType": "Bearer", "expiresIn": str(EXPIRES_S)}
    return Answer(SUCCESSFUL, SUCCESSFUL.message, more)
