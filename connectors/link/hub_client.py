"""The hub's HTTP API as a connector uses it: the registry, and the stretches of a stream that Kafka no longer has.

Authentication: a JWT client assertion (RFC 7523) under the participant's API key, a new one for each attempt, since
the hub takes a `jti` once.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from connectors.link.clock import Clock, utc_now
from connectors.link.fact import AcceptedBefore
from connectors.link.fault import HubUnreachable
from connectors.link.metrics import LinkMetrics
from contracts.wire import base64url
from contracts.wire.key import Signer

ASSERTION_LIFE_S = 50
TIMEOUT_S = 10.0
ATTEMPTS_MAX = 4
BACKOFF_S_MAX = 5.0
# The hub gives no more at once.
PAGE_RECORDS_MAX = 256
PAGE_ACCEPTED_MAX = 1_000
ANSWER_BYTES_MAX = 64 * 1024**2
JTI_BYTES = 16
HALF_A_SECOND = timedelta(milliseconds=500)

T = TypeVar("T")


class _Transient(Exception):
    """An answer that another attempt may turn into a good one."""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One record of a stream as the hub's archive holds it."""

    seq: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A stretch of a stream, in seq; `last` is the stream's newest seq."""

    last: int
    records: tuple[StreamRecord, ...]


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """What the hub has of a source: its highest sequence, and how far it is with the participant's topic.

    `taken`: the next offset that it reads, by partition. `deferred`: how many messages still wait to be judged.
    """

    last_sequence: int
    taken: Mapping[int, int]
    deferred: int


class _Taken(BaseModel):
    model_config = ConfigDict(extra="ignore")
    partition: int
    next: int


class _Progress(BaseModel):
    model_config = ConfigDict(extra="ignore")
    last_sequence: int
    taken: list[_Taken]
    deferred: int


class _Accepted(BaseModel):
    model_config = ConfigDict(extra="ignore")
    sequence: int
    id: str
    sha256: str
    log_index: int

    def read(self) -> AcceptedBefore:
        digest = base64url.decode(self.sha256.encode())
        if digest is None:
            raise ValueError("sha256 is not base64url")
        return AcceptedBefore(self.sequence, self.id, digest, self.log_index)


class _AcceptedPage(BaseModel):
    model_config = ConfigDict(extra="ignore")
    messages: list[_Accepted]


class _PageRecord(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    seq: int
    key: str
    value: str | None
    headers: list[tuple[str, str]]

    def read(self) -> StreamRecord:
        value = None if self.value is None else base64url.decode(self.value.encode())
        if value is None and self.value is not None:
            raise ValueError("value is not base64url")
        return StreamRecord(self.seq, self.key, value, tuple((name, text.encode()) for name, text in self.headers))


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore")
    last: int
    records: list[_PageRecord]


def client_assertion(key: Signer, participant: str, audience: str, now_s: int) -> str:
    """Return a signed JWT by which `participant` shows who it is (RFC 7523 section 2.2), for one request."""
    header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    claims = {
        "iss": participant,
        "sub": participant,
        "aud": audience,
        "iat": now_s,
        "exp": now_s + ASSERTION_LIFE_S,
        "jti": secrets.token_urlsafe(JTI_BYTES),
    }
    parts = (base64url.encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signed = ".".join(parts)
    return f"{signed}.{base64url.encode(key.sign(signed.encode()))}"


class HubClient:
    """Asks the hub. Every method raises HubUnreachable after some attempts with jittered pauses."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: str,
        participant: str,
        api_key: Signer | Callable[[], Signer],
        clock: Clock = utc_now,
        metrics: LinkMetrics | None = None,
    ) -> None:
        """`api_key` is a key, or what gives the key to use now."""
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._audience = api_url
        self._participant = participant
        self._api_key = api_key
        self._clock = clock
        self._metrics = metrics

    async def registry(self) -> bytes:
        """Return the current signed registry document, not yet verified."""
        return await self._retry(lambda: self._get("/api/v1/registry", {}, signed=False))

    async def stream(self, topic: str, partition: int, after: int, limit: int = PAGE_RECORDS_MAX) -> StreamPage:
        """Return the records of a stream that follow seq `after`, at most `limit`."""
        path = f"/api/v1/streams/{topic}/{partition}"
        body = await self._retry(lambda: self._get(path, {"after": after, "limit": limit}, signed=True))
        try:
            page = _Page.model_validate_json(body)
            return StreamPage(page.last, tuple(record.read() for record in page.records))
        except (ValidationError, ValueError):
            # The text of such an error may quote a record's content, which is personal data.
            raise HubUnreachable(f"The hub's API answers {path} with something that is no page of a stream.") from None

    async def progress(self, source: str) -> SourceProgress:
        """Return what the hub has of a source of this participant."""
        path = f"/api/v1/sources/{quote(source, safe='')}/progress"
        body = await self._retry(lambda: self._get(path, {}, signed=True))
        try:
            found = _Progress.model_validate_json(body)
        except ValidationError:
            raise HubUnreachable("The hub's API answers with something that is no progress of a source.") from None
        return SourceProgress(found.last_sequence, {one.partition: one.next for one in found.taken}, found.deferred)

    async def accepted(self, source: str, after: int) -> list[AcceptedBefore]:
        """Return the messages of a source that the hub has accepted, after that sequence, in sequence; some at once."""
        path = f"/api/v1/sources/{quote(source, safe='')}/accepted"
        query = {"after": after, "limit": PAGE_ACCEPTED_MAX}
        body = await self._retry(lambda: self._get(path, query, signed=True))
        try:
            return [message.read() for message in _AcceptedPage.model_validate_json(body).messages]
        except (ValidationError, ValueError):
            raise HubUnreachable("The hub's API answers with something that is no page of messages.") from None

    async def _retry(self, ask: Callable[[], Awaitable[T]]) -> T:
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_Transient),
            stop=stop_after_attempt(ATTEMPTS_MAX),
            wait=wait_random_exponential(multiplier=0.2, max=BACKOFF_S_MAX),
            reraise=True,
        )

        # Tenacity awaits only what it sees to be a coroutine function.
        async def attempt() -> T:
            return await ask()

        try:
            return await attempts(attempt)
        except _Transient as error:
            raise HubUnreachable(str(error)) from error

    async def _get(self, path: str, query: dict[str, int], *, signed: bool) -> bytes:
        headers = {}
        if signed:
            now_s = int(self._clock().timestamp())
            key = self._api_key() if callable(self._api_key) else self._api_key
            token = client_assertion(key, self._participant, self._audience, now_s)
            headers["authorization"] = f"Bearer {token}"
        try:
            answer = await self._http.get(self._api_url + path, params=query, headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            raise _Transient(f"The hub's API does not answer ({type(error).__name__}): check HUB_API_URL.") from error
        self._see(answer)
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            raise _Transient(f"The hub's API answers {path} with status {answer.status_code}.")
        if answer.status_code in (401, 403):
            raise HubUnreachable(
                f"The hub refuses {path} (status {answer.status_code}): check PARTICIPANT, API_KEY_FILE, HUB_API_URL"
                " and this machine's clock against the registry's entry."
            )
        if answer.status_code != httpx.codes.OK or len(answer.content) > ANSWER_BYTES_MAX:
            raise HubUnreachable(f"The hub's API answers {path} with status {answer.status_code}.")
        return answer.content

    def _see(self, answer: httpx.Response) -> None:
        """Note that the hub is there, and what time it has."""
        if self._metrics is None:
            return
        now = self._clock()
        self._metrics.see("hub API", now)
        try:
            date = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return
        # The header has whole seconds, so that the hub's time is half a second later on average.
        self._metrics.see_offset(date.astimezone(UTC) + HALF_A_SECOND - now)
