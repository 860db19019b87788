"""A bank's side of SNAP BI: token, inquiry and payment notification, with either service signature.

Source: Bank Indonesia, Standar Nasional Open API Pembayaran, technical and security standard (access token, signature),
transfer-va/inquiry (service code 24) and transfer-va/payment (service code 25).
"""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PATH = "/v1.0/transfer-va/payment"
INQUIRY_PATH = "/v1.0/transfer-va/inquiry"
TOKEN_PATH = "/v1.0/access-token/b2b"
TOKEN_REFUSED = "4012501"
JAKARTA = timezone(timedelta(hours=7))
CHANNEL_ID = "95221"
PARTNER_SERVICE_ID = "   88899"  # Eight characters, padded with spaces on the left, and never trimmed.
TIMEOUT_S = 5.0
EXTERNAL_ID_MAX = 10**18

Answered = tuple[int, dict[str, Any]]


class NoTokenError(Exception):
    """The other side answered, and gave no access token."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it goes over the wire; a repeat sends the same again."""

    body: bytes
    external_id: str
    path: str = PATH

    def renumbered(self) -> "Call":
        """The same call under an X-EXTERNAL-ID of its own."""
        return replace(self, external_id=str(secrets.randbelow(EXTERNAL_ID_MAX)))

    def advised(self) -> "Call":
        """The same call as an advice, which asks what has become of it."""
        return replace(self, body=self.body.replace(b'"flagAdvise": "N"', b'"flagAdvise": "Y"'))


def write_account(billing_code: str) -> dict[str, str]:
    """Return the three members that name a virtual account."""
    return {
        "partnerServiceId": PARTNER_SERVICE_ID,
        "customerNo": billing_code,
        "virtualAccountNo": PARTNER_SERVICE_ID + billing_code,
    }


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
    body = {
        **write_account(billing_code),
        "paymentRequestId": request_id,
        "paidAmount": {"value": amount, "currency": currency},
        "trxDateTime": paid_at.astimezone(JAKARTA).isoformat(timespec="seconds"),
        "referenceNo": reference,
        "flagAdvise": "N",
        "additionalInfo": {"billingCode": billing_code, **({"ntpn": ntpn} if ntpn else {})},
    }
    return _write(body, request_id, PATH)


def write_inquiry(billing_code: str, request_id: str) -> Call:
    """Write the question whether a bill may be paid. `request_id`: each question has its own."""
    additional = {"billingCode": billing_code}
    body = {**write_account(billing_code), "inquiryRequestId": request_id, "additionalInfo": additional}
    return _write(body, f"inquiry {request_id}", INQUIRY_PATH)


def _write(body: dict[str, Any], identity: str, path: str) -> Call:
    # The bank's own formatting: indented, since the signature is over the minified form.
    external_id = str(int(hashlib.sha256(identity.encode()).hexdigest()[:15], 16))
    return Call(json.dumps(body, indent=1).encode(), external_id, path)


class Sender:
    """Calls one address with one partner's keys.

    `secret`: the client secret of a bank that signs symmetrically, under an access token. `skew`: how far the bank's
    clock is ahead. `renewals`: how often a token was turned away and another one fetched.
    """

    def __init__(
        self,
        url: str,
        partner_id: str,
        key: rsa.RSAPrivateKey,
        secret: bytes | None = None,
        skew: timedelta = timedelta(),
    ) -> None:
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._partner_id = partner_id
        self._key = key
        self._secret = secret
        self._skew = skew
        self._token: str | None = None
        self.renewals = 0

    @staticmethod
    def read_key(pem: bytes) -> rsa.RSAPrivateKey:
        """Read the bank's private key. Raises ValueError if it is not an RSA key."""
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("SNAP's asymmetric signature needs an RSA key")
        return key

    def forget_token(self) -> None:
        """Hold a token from here on that is worth nothing, as one that outlived its time."""
        self._token = secrets.token_urlsafe()

    def post(self, call: Call, now: datetime, *, forged: bool = False) -> Answered:
        """Call and return the HTTP status and the answer. `forged`: with a signature of other content.

        Raises OSError, http.client.HTTPException or ValueError when nobody answers in JSON, NoTokenError.
        """
        timestamp = (now + self._skew).astimezone(JAKARTA).isoformat(timespec="seconds")
        signed_body = b'{"other":"content"}' if forged else call.body
        if self._secret is None:
            return self._send(call, timestamp, {"X-SIGNATURE": self.sign(signed_body, timestamp, call.path)})
        answered = self._post_with_token(call, signed_body, timestamp, self._secret)
        if answered[1].get("responseCode") == TOKEN_REFUSED:
            self.renewals += 1
            self._token = None
            answered = self._post_with_token(call, signed_body, timestamp, self._secret)
        return answered

    def _post_with_token(self, call: Call, signed_body: bytes, timestamp: str, secret: bytes) -> Answered:
        if self._token is None:
            self._token = self._fetch_token()
        text = f"POST:{call.path}:{self._token}:{_hash(signed_body)}:{timestamp}"
        signature = base64.b64encode(hmac.digest(secret, text.encode(), "sha512")).decode()
        return self._send(call, timestamp, {"X-SIGNATURE": signature, "Authorization": f"Bearer {self._token}"})

    def _fetch_token(self) -> str:
        timestamp = (datetime.now(UTC) + self._skew).astimezone(JAKARTA).isoformat(timespec="seconds")
        headers = {
            "Content-Type": "application/json",
            "X-TIMESTAMP": timestamp,
            "X-CLIENT-KEY": self._partner_id,
            "X-SIGNATURE": self._sign_text(f"{self._partner_id}|{timestamp}"),
        }
        _, answer = self._request(TOKEN_PATH, b'{"grantType":"client_credentials"}', headers)
        if "accessToken" not in answer:
            raise NoTokenError(f"no access token: {answer.get('responseCode')}")
        return str(answer["accessToken"])

    def _send(self, call: Call, timestamp: str, signed: dict[str, str]) -> Answered:
        headers = {
            "Content-Type": "application/json",
            "X-TIMESTAMP": timestamp,
            "X-PARTNER-ID": self._partner_id,
            "X-EXTERNAL-ID": call.external_id,
            "CHANNEL-ID": CHANNEL_ID,
            **signed,
        }
        return self._request(call.path, call.body, headers)

    def _request(self, path: str, body: bytes, headers: dict[str, str]) -> Answered:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def sign(self, body: bytes, timestamp: str, path: str = PATH) -> str:
        """Return the asymmetric X-SIGNATURE for a body that is written as JSON with white space."""
        return self._sign_text(f"POST:{path}:{_hash(body)}:{timestamp}")

    def _sign_text(self, text: str) -> str:
        return base64.b64encode(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def _hash(body: bytes) -> str:
    # The body is the sender's own json.dumps with indent=1: parsing and dumping it compactly is its minified form.
    minified = json.dumps(json.loads(body), separators=(",", ":")).encode()
    return hashlib.sha256(minified).hexdigest()
