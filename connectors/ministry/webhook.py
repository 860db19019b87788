"""Outcomes as webhooks, by the Standard Webhooks specification (standardwebhooks.com): one signed POST for each.

    webhook-id         the outcome's event id: the receiver takes each id once
    webhook-timestamp  seconds since 1970
    webhook-signature  v1,<base64 of HMAC-SHA256 of "id.timestamp.body">; during a change of secret one for each, by a
                       space

Any 2xx answer means taken. 5xx, 408, 425, 429, 401, 403 and 404 mean that the receiver is not there now, and everything
waits; any other answer refuses this one outcome, which is sent again later while the others pass.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
from standardwebhooks import Webhook

from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.fault import SettingsFault, SourceUnreachable
from connectors.ministry.rights import OutcomeRefused
from connectors.ministry.telling import document_of
from connectors.ministry.translate import OutcomeRow
from keys.fault import KeyFault
from keys.files import read_secret

TIMEOUT_S: Final = 15.0
SECRETS_MAX: Final = 2
SECRET_BYTES_MIN: Final = 24

_AWAY: Final = frozenset((401, 403, 404, 408, 425, 429))


class WebhookReceiver:
    """Sends each outcome to one URL."""

    batch_max = 1

    def __init__(self, http: httpx.AsyncClient, url: str, signers: Sequence[Webhook], clock: Clock) -> None:
        self._http = http
        self._url = url
        self._signers = signers
        self._clock = clock

    async def take(self, rows: Sequence[OutcomeRow]) -> None:
        """Send outcomes. Raises SourceUnreachable, OutcomeRefused."""
        for row in rows:
            await self._send(row)

    async def _send(self, row: OutcomeRow) -> None:
        body = json.dumps(document_of(row), ensure_ascii=False, separators=(",", ":"))
        now = self._clock()
        signatures = " ".join(signer.sign(row.event_id, now, body) for signer in self._signers)
        headers = {
            "content-type": "application/json",
            "webhook-id": row.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures,
        }
        failpoint.reach("webhook.before_send")
        try:
            answer = await self._http.post(self._url, content=body.encode(), headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            raise SourceUnreachable(f"The webhook's receiver does not answer ({type(error).__name__}).") from error
        failpoint.reach("webhook.after_send")
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code in _AWAY:
            raise SourceUnreachable(
                f"The webhook's receiver answers with status {answer.status_code}: check WEBHOOK_URL and its secret."
            )
        if not answer.is_success:
            raise OutcomeRefused(f"status {answer.status_code}")


def read_signers(file: Path) -> list[Webhook]:
    """Return a signer for each line of a secret's file: `whsec_` and base64, the new one first during a change.

    Raises SettingsFault.
    """
    try:
        lines = read_secret(file).decode("ascii").split()
    except KeyFault as fault:
        raise SettingsFault(f"WEBHOOK_SECRET_FILE {file} {fault.says}.") from None
    except UnicodeDecodeError:
        raise SettingsFault(f"WEBHOOK_SECRET_FILE {file} cannot be read: it is not all ASCII.") from None
    try:
        signers = [Webhook(line) for line in lines if line.startswith("whsec_") and len(line) > SECRET_BYTES_MIN]
    except (RuntimeError, ValueError):
        signers = []
    if not signers or len(signers) != len(lines) or len(lines) > SECRETS_MAX:
        raise SettingsFault(
            f"WEBHOOK_SECRET_FILE {file} must hold one line, or two during a change: whsec_ and at least 24 bytes in"
            " base64."
        )
    return signers
