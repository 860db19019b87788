"""A bank's side of SNAP BI's payment notification, with the asymmetric service signature.

Source: Bank Indonesia, Standar Nasional Open API Pembayaran, technical and security standard (signature), and
transfer-va/payment (service code 25).
"""

import base64
import hashlib
import http.client
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PATH = "/v1.0/transfer-va/payment"
JAKARTA = timezone(timedelta(hours=7))
CHANNEL_ID = "95221"
PARTNER_SERVICE_ID = "   88899"  # Eight characters, padded with spaces on the left, and never trimmed.
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """One notification as it goes over the wire; a repeat sends the same again."""

    body: bytes
    external_id: str


def write_call(
    *,
    billing_code: str,
    amount: str,
    currency: str,
    paid_at: datetime,
    request_id: str,
    reference: str,
    ntpn: str | None,
) -> Call:
    """Write the notification of one payment. `amount`: with two decimals."""
    customer = billing_code
    body = {
        "partnerServiceId": PARTNER_SERVICE_ID,
        "customerNo": customer,
        "virtualAccountNo": PARTNER_SERVICE_ID + customer,
        "paymentRequestId": request_id,
        "paidAmount": {"value": amount, "currency": currency},
        "trxDateTime": paid_at.astimezone(JAKARTA).isoformat(timespec="seconds"),
        "referenceNo": reference,
        "flagAdvise": "N",
        "additionalInfo": {"billingCode": billing_code, **({"ntpn": ntpn} if ntpn else {})},
    }
    # The bank's own formatting: indented, since the signature is over the minified form.
    external_id = str(int(hashlib.sha256(request_id.encode()).hexdigest()[:16], 16))
    return Call(json.dumps(body, indent=1).encode(), external_id)


class Sender:
    """Posts notifications to one address with one partner's key."""

    def __init__(self, url: str, partner_id: str, key: rsa.RSAPrivateKey) -> None:
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._partner_id = partner_id
        self._key = key

    @staticmethod
    def read_key(pem: bytes) -> rsa.RSAPrivateKey:
        """Read the bank's private key. Raises ValueError if it is not an RSA key."""
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("SNAP's asymmetric signature needs an RSA key")
        return key

    def post(self, call: Call, now: datetime, *, forged: bool = False) -> tuple[int, dict[str, Any]]:
        """Post and return the HTTP status and the answer. `forged`: with a signature of other content.

        Raises OSError or http.client.HTTPException when nobody answers.
        """
        timestamp = now.astimezone(JAKARTA).isoformat(timespec="seconds")
        signed_body = b'{"other":"content"}' if forged else call.body
        headers = {
            "Content-Type": "application/json",
            "X-TIMESTAMP": timestamp,
            "X-SIGNATURE": self.sign(signed_body, timestamp),
            "X-PARTNER-ID": self._partner_id,
            "X-EXTERNAL-ID": call.external_id,
            "CHANNEL-ID": CHANNEL_ID,
        }
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", PATH, body=call.body, headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def sign(self, body: bytes, timestamp: str) -> str:
        """Return X-SIGNATURE for a body that is written as JSON with white space."""
        # The body is the sender's own json.dumps with indent=1: parsing and dumping it compactly is its minified form.
        minified = json.dumps(json.loads(body), separators=(",", ":")).encode()
        digest = hashlib.sha256(minified).hexdigest()
        text = f"POST:{PATH}:{digest}:{timestamp}"
        return base64.b64encode(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
