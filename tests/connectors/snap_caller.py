"""A bank that calls: signs SNAP payment notifications as the standard says, with a parser and a hash of its own."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PATH = "/v1.0/transfer-va/payment"


@cache
def bank_key(number: int = 1) -> rsa.RSAPrivateKey:
    """One RSA key for each number, made once a session: making one is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


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


@dataclass
class Caller:
    """One bank: its key and its partner id."""

    partner_id: str = "BRI-TKA"
    key: rsa.RSAPrivateKey = field(default_factory=bank_key)

    def sign(self, body: bytes, timestamp: str, method: str = "POST", path: str = PATH) -> str:
        """Sign a body that has no white space outside its strings."""
        text = f"{method}:{path}:{hashlib.sha256(body).hexdigest()}:{timestamp}"
        return base64.b64encode(self.key.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()

    def headers(self, body: bytes, at: datetime, external_id: str = "1001", path: str = PATH) -> dict[str, str]:
        timestamp = at.isoformat(timespec="seconds")
        return {
            "Content-Type": "application/json",
            "X-TIMESTAMP": timestamp,
            "X-SIGNATURE": self.sign(body, timestamp, path=path),
            "X-PARTNER-ID": self.partner_id,
            "X-EXTERNAL-ID": external_id,
            "CHANNEL-ID": "95051",
        }

    async def notify(
        self,
        http: httpx.AsyncClient,
        body: dict[str, Any] | bytes,
        at: datetime,
        external_id: str = "1001",
        path: str = PATH,
        **headers: str | None,
    ) -> httpx.Response:
        """Post a notification; `headers` replaces (or with None removes) headers, `_` standing for `-`."""
        raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        sent = self.headers(raw, at, external_id, path)
        for name, value in headers.items():
            sent.pop(name.replace("_", "-"), None)
            if value is not None:
                sent[name.replace("_", "-")] = value
        return await http.post(path, content=raw, headers=sent)
