"""Asks the bank's own status service what became of a payment whose fate is unclear.

Unclear is a payment of which the bank may not have had our answer (a timeout, a hang-up), or of which it said two
different things. The bank's word is kept and shown; a payment that the bank says was taken, and that is not in the
spool yet, is taken now; one that is published and that the bank denies is set aside for people, since a fact is not
unsaid.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from connectors.bank import snap
from connectors.bank.book import FATE_NOTES, UNCLEAR_NOTES
from connectors.bank.payments import Payments
from connectors.bank.profile import Partner, Partners, StatusAccess
from connectors.bank.snap_answer import SnapRefusal
from connectors.bank.snap_payment import Notification
from connectors.bank.translate import notification_key
from connectors.link.clock import Clock
from connectors.link.fact import Aside
from connectors.link.fault import SpoolFull
from connectors.link.retry import where
from connectors.link.spool import Spool
from contracts.wire.instant import write_instant

LOOK_EVERY_S: Final = 5.0
ANSWER_S_MAX: Final = 10.0
#: Each question waits twice as long as the one before, up to this.
PAUSE_MAX: Final = timedelta(hours=1)
TOKEN_RENEWED_BEFORE: Final = timedelta(seconds=60)
CODE_DENIED: Final = "denied_by_bank"
CODE_UNTAKEN: Final = "paid_and_untaken"

Fate = Literal["paid", "not_paid", "pending"]

_OK = 200
_NOT_FOUND_CASE = "01"
_FLAGS: Mapping[object, Fate] = {"00": "paid", "01": "not_paid", "02": "pending"}
_EXTERNAL_ID_DIGITS = 18

_log = structlog.get_logger()


class StatusUnknown(Exception):
    """The bank's status service does not answer, or not in a way that says anything."""


class StatusClient:
    """A SNAP client of one bank's status service."""

    def __init__(self, access: StatusAccess, http: httpx.AsyncClient, clock: Clock) -> None:
        self._access = access
        self._http = http
        self._clock = clock
        self._token: tuple[str, datetime] | None = None

    async def ask(self, notification: Notification) -> Fate:
        """Return what the bank says of the payment. Raises StatusUnknown."""
        account = {name: notification.account_data[name] for name in _ACCOUNT}
        asked = {
            **account,
            "inquiryRequestId": secrets.token_hex(8),
            "paymentRequestId": notification.payment_request_id,
        }
        service = self._access.service
        status, answer = await self._post(service.path, json.dumps(asked, separators=(",", ":")).encode())
        code = str(answer.get("responseCode", ""))
        if status == _OK and code == f"{_OK}{service.service_code}00":
            data = answer.get("virtualAccountData")
            flag = data.get("paymentFlagStatus") if isinstance(data, dict) else None
            return _FLAGS.get(flag, "pending")
        if code == f"404{service.service_code}{_NOT_FOUND_CASE}":
            return "not_paid"
        raise StatusUnknown(f"status {status}")

    async def _post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        service, written = self._access.service, self._timestamp()
        hashed = snap.body_hash(body)
        headers = {
            "X-PARTNER-ID": service.partner_id,
            "X-EXTERNAL-ID": str(secrets.randbelow(10**_EXTERNAL_ID_DIGITS)),
            "CHANNEL-ID": service.channel_id,
        }
        if self._access.secret is None:
            signature = self._sign(snap.asymmetric_text("POST", path, hashed, written))
        else:
            token = await self._get_token()
            headers["Authorization"] = f"Bearer {token}"
            text = snap.symmetric_text("POST", path, token, hashed, written)
            mac = hmac.digest(self._access.secret.encode("utf-8"), text.encode("utf-8"), hashlib.sha512)
            signature = base64.b64encode(mac).decode("ascii")
        return await self._send(path, body, {**headers, "X-TIMESTAMP": written, "X-SIGNATURE": signature})

    async def _get_token(self) -> str:
        """Return an access token of the bank's, a new one when the last is about to expire."""
        now = self._clock()
        if self._token is not None and now < self._token[1]:
            return self._token[0]
        service, written = self._access.service, self._timestamp()
        client = service.client_key or service.partner_id
        headers = {
            "X-CLIENT-KEY": client,
            "X-TIMESTAMP": written,
            "X-SIGNATURE": self._sign(snap.token_text(client, written)),
        }
        status, answer = await self._send(service.token_path, b'{"grantType":"client_credentials"}', headers)
        token, lasts_s = answer.get("accessToken"), str(answer.get("expiresIn", ""))
        if status != _OK or not isinstance(token, str) or not lasts_s.isdigit():
            raise StatusUnknown(f"token: status {status}")
        self._token = token, now + timedelta(seconds=int(lasts_s)) - TOKEN_RENEWED_BEFORE
        return token

    async def _send(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        sent = {"Content-Type": "application/json", **headers}
        try:
            response = await self._http.post(
                self._access.service.url + path, content=body, headers=sent, timeout=ANSWER_S_MAX
            )
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise StatusUnknown(type(error).__name__) from None
        return response.status_code, answer if isinstance(answer, dict) else {}

    def _timestamp(self) -> str:
        return self._clock().astimezone(snap.JAKARTA).isoformat(timespec="seconds")

    def _sign(self, text: str) -> str:
        signature = self._access.key.sign(text.encode("utf-8"), padding.PKCS1v15(), SHA256())
        return base64.b64encode(signature).decode("ascii")


_ACCOUNT = ("partnerServiceId", "customerNo", "virtualAccountNo")


class StatusDesk:
    """Works through the payments whose fate is unclear, those of partners that have a status service."""

    def __init__(
        self, spool: Spool, payments: Payments, partners: Partners, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        self._spool = spool
        self._payments = payments
        self._clock = clock
        self._asked: list[tuple[Partner, float, StatusClient]] = [
            (partner, partner.status.service.ask_after_s, StatusClient(partner.status, http, clock))
            for partner in partners.all
            if partner.status is not None
        ]

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask_due()
            await asyncio.sleep(LOOK_EVERY_S)

    async def ask_due(self) -> int:
        """Ask about every payment that is due; return how many were settled."""
        settled = 0
        for partner, ask_after_s, client in self._asked:
            prefix = f"{UNCLEAR_NOTES}{partner.profile.partner_id}/"
            for name, text in (await self._spool.notes(prefix)).items():
                said = json.loads(text)
                since = datetime.fromisoformat(said["at"])
                pause = min(timedelta(seconds=ask_after_s * 2 ** min(said["asked"], 32)), PAUSE_MAX)
                if self._clock() >= since + pause:
                    settled += await self._ask(partner, client, name, said)
        return settled

    async def _ask(self, partner: Partner, client: StatusClient, name: str, said: dict[str, Any]) -> bool:
        notification = Notification.read(said["notification"])
        try:
            fate = await client.ask(notification)
            if fate != "pending":
                await self._settle(partner, name, notification, fate)
                return True
        except (StatusUnknown, SpoolFull, SnapRefusal) as fault:
            _log.warning("a payment's fate is still unclear", error=where(fault))
        again = {**said, "asked": said["asked"] + 1}
        await self._spool.put(notes={name: json.dumps(again, sort_keys=True)})
        return False

    async def _settle(self, partner: Partner, name: str, notification: Notification, fate: Fate) -> None:
        """Keep the bank's word, and do what follows from it."""
        named = name.removeprefix(UNCLEAR_NOTES)
        taken = await self._payments.is_taken(notification)
        aside: list[Aside] = []
        key = notification_key(notification.partner_id, notification.payment_request_id)
        if fate == "paid" and not taken:
            answer = await self._payments.take(notification, partner.profile)
            if not await self._payments.is_taken(notification):
                why = f"the bank's status service says it is paid, and it cannot be taken: {answer.message}"
                aside.append(Aside(key, CODE_UNTAKEN, why))
        elif fate == "not_paid" and taken:
            aside.append(Aside(key, CODE_DENIED, "the payment is published, and the bank's status service denies it"))
        word = json.dumps({"at": write_instant(self._clock()), "fate": fate}, sort_keys=True)
        await self._spool.put(aside=aside, notes={FATE_NOTES + named: word, name: None})
        _log.info("a payment's fate is known", fate=fate, taken_before=taken)
