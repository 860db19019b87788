"""The bank's own SNAP server: it says what became of a payment, to whoever signs as the exchange's connector does.

Answers access-token/b2b (service code 73) and transfer-va/status (service code 26). With a client secret it wants
symmetric signatures under a token of its own, without one asymmetric ones.
"""

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from devstack.agencies.door import Answer, Handler, Incoming, Raw
from devstack.agencies.part import Book
from devstack.agencies.snap import TOKEN_PATH

STATUS_PATH = "/v1.0/transfer-va/status"
TOKEN_LIFE_S = 900


class StatusServer:
    """Answers from the bank's book. `client`: under which name the connector is known here."""

    def __init__(self, book: Book, client: str, key: rsa.RSAPublicKey, secret: bytes | None) -> None:
        self._book = book
        self._client = client
        self._key = key
        self._secret = secret
        self._tokens: set[str] = set()

    @staticmethod
    def read_key(pem: bytes) -> rsa.RSAPublicKey:
        """Read the connector's public key. Raises ValueError if it is not an RSA key."""
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("the connector's key must be an RSA key")
        return key

    def routes(self) -> dict[tuple[str, str], Handler | Raw]:
        """Return what is to be opened at the bank's door."""
        return {("POST", TOKEN_PATH): Raw(self.grant), ("POST", STATUS_PATH): Raw(self.tell)}

    def grant(self, call: Incoming) -> Answer:
        """Give a token to the connector."""
        text = f"{call.header('X-CLIENT-KEY')}|{call.header('X-TIMESTAMP')}"
        if call.header("X-CLIENT-KEY") != self._client or not self._is_signed(text, call):
            return 401, {"responseCode": "4017300", "responseMessage": "Unauthorized"}
        token = secrets.token_urlsafe()
        self._tokens.add(token)
        granted = {"accessToken": token, "tokenType": "Bearer", "expiresIn": str(TOKEN_LIFE_S)}
        return 200, {"responseCode": "2007300", "responseMessage": "Successful", **granted}

    def tell(self, call: Incoming) -> Answer:
        """Say whether a payment was made: 00 for one that this bank has told, 02 for one that is still being told."""
        if not self._is_authentic(call):
            return 401, {"responseCode": "4012600", "responseMessage": "Unauthorized"}
        asked: dict[str, Any] = json.loads(call.body)
        identity = str(asked.get("paymentRequestId"))
        self._book.note("asked", identity)
        if self._book.find("calls", f"{identity}: payment") is not None:
            flag = "01"
        else:
            flag = "00" if self._book.find("told", identity) is not None else "02"
        account = {name: asked.get(name) for name in ("partnerServiceId", "customerNo", "virtualAccountNo")}
        data = {**account, "paymentRequestId": identity, "paymentFlagStatus": flag}
        return 200, {"responseCode": "2002600", "responseMessage": "Successful", "virtualAccountData": data}

    def _is_authentic(self, call: Incoming) -> bool:
        if call.header("X-PARTNER-ID") != self._client:
            return False
        # The connector writes its bodies without white space, so they are minified as they are.
        hashed, timestamp = hashlib.sha256(call.body).hexdigest(), call.header("X-TIMESTAMP")
        if self._secret is None:
            return self._is_signed(f"POST:{STATUS_PATH}:{hashed}:{timestamp}", call)
        token = call.header("Authorization").removeprefix("Bearer ")
        text = f"POST:{STATUS_PATH}:{token}:{hashed}:{timestamp}"
        mac = base64.b64encode(hmac.digest(self._secret, text.encode(), "sha512")).decode()
        return token in self._tokens and hmac.compare_digest(mac, call.header("X-SIGNATURE"))

    def _is_signed(self, text: str, call: Incoming) -> bool:
        try:
            signature = base64.b64decode(call.header("X-SIGNATURE"), validate=True)
            self._key.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True
