"""A bank that calls: signs SNAP calls as the standard says, with a parser and a hash of its own."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PATH = "/v1.0/transfer-va/payment"
INQUIRY_PATH = "/v1.0/transfer-va/inquiry"
TOKEN_PATH = "/v1.0/access-token/b2b"
SECRET = "a-client-secret-of-the-bank"


@cache
def bank_key(number: int) -> rsa.RSAPrivateKey:
    """One RSA key for each number, made once a session: making one is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def payment(**changes: Any) -> dict[str, Any]:
    """A well-formed body; a member changed to `...` is left out."""
    body: dict[str, Any] = {
        "partnerServiceId": "   12345",
        "customerNo": "900000000017",
        "virtualAccountNo": "   12345900000000017",
        "virtualAccountName": "PT CONTOH",
        "paymentRequestId": "A-1",
        "paidAmount": {"value": "2400.00", "currency": "USD"},
        "trxDateTime": "2026-04-01T09:59:30+07:00",
        "referenceNo": "BANKREF-1",
        "channelCode": "6011",
        "additionalInfo": {"billingCode": "820260401000017", "ntpn": "0123456789ABCDEF"},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def inquiry(**changes: Any) -> dict[str, Any]:
    """A well-formed question about a bill; a member changed to `...` is left out."""
    body: dict[str, Any] = {
        "partnerServiceId": "   12345",
        "customerNo": "900000000017",
        "virtualAccountNo": "   12345900000000017",
        "inquiryRequestId": "Q-1",
        "additionalInfo": {"billingCode": "820260401000017"},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def write(body: dict[str, Any] | bytes) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()


def replaced(sent: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """Headers with some replaced, or with None removed; `_` stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    kept = {name: value for name, value in sent.items() if name not in named}
    return {**kept, **{name: value for name, value in named.items() if value is not None}}


@dataclass
class Caller:
    """One bank: its key and its partner id; with a secret it signs symmetrically, and gets itself a token first."""

    partner_id: str = "BRI-TKA"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: bank_key(1))
    secret: str | None = None
    token: str = ""

    def sign_text(self, text: str) -> str:
        return base64.b64encode(self.key.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()

    def sign(self, body: bytes, timestamp: str, method: str = "POST", path: str = PATH) -> str:
        """Sign a body that has no white space outside its strings."""
        hashed = hashlib.sha256(body).hexdigest()
        if self.secret is None:
            return self.sign_text(f"{method}:{path}:{hashed}:{timestamp}")
        text = f"{method}:{path}:{self.token}:{hashed}:{timestamp}"
        return base64.b64encode(hmac.digest(self.secret.encode(), text.encode(), "sha512")).decode()

    def headers(self, body: bytes, at: datetime, external_id: str = "1001", path: str = PATH) -> dict[str, str]:
        timestamp = at.isoformat(timespec="seconds")
        headers = {
            "Content-Type": "application/json",
            "X-TIMESTAMP": timestamp,
            "X-SIGNATURE": self.sign(body, timestamp, path=path),
            "X-PARTNER-ID": self.partner_id,
            "X-EXTERNAL-ID": external_id,
            "CHANNEL-ID": "95051",
        }
        return headers if self.secret is None else {**headers, "Authorization": f"Bearer {self.token}"}

    def token_headers(self, at: datetime) -> dict[str, str]:
        timestamp = at.isoformat(timespec="seconds")
        return {
            "Content-Type": "application/json",
            "X-TIMESTAMP": timestamp,
            "X-CLIENT-KEY": self.partner_id,
            "X-SIGNATURE": self.sign_text(f"{self.partner_id}|{timestamp}"),
        }

    async def ask_token(
        self, http: httpx.AsyncClient, at: datetime, body: bytes = b'{"grantType":"client_credentials"}', **headers: Any
    ) -> httpx.Response:
        """Ask for an access token, and keep it if it was given."""
        response = await http.post(TOKEN_PATH, content=body, headers=replaced(self.token_headers(at), headers))
        self.token = response.json().get("accessToken", self.token)
        return response

    async def notify(
        self,
        http: httpx.AsyncClient,
        body: dict[str, Any] | bytes,
        at: datetime,
        external_id: str = "1001",
        path: str = PATH,
        **headers: str | None,
    ) -> httpx.Response:
        """Post a signed call; `headers` replaces (or with None removes) headers, `_` standing for `-`."""
        raw = write(body)
        return await http.post(path, content=raw, headers=replaced(self.headers(raw, at, external_id, path), headers))

    async def inquire(
        self, http: httpx.AsyncClient, body: dict[str, Any] | bytes, at: datetime, **headers: Any
    ) -> httpx.Response:
        """Ask about a bill."""
        return await self.notify(http, body, at, path=INQUIRY_PATH, **headers)
