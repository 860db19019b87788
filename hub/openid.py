"""Signing in with an OpenID provider: authorization code with PKCE, and what its ID token must hold.

    begin  -> the provider's address to go to, and what the browser keeps meanwhile: state, nonce, code verifier
    finish <- the code; the provider's token endpoint gives the ID token; its subject is that of one account or of none

A provider says who somebody is and never what that person may do: roles, units and participants stay the accounts'.
Sources: OpenID Connect Core 1.0 sections 3.1.2 and 3.1.3.7, RFC 7636 (PKCE), RFC 9207 (`iss` in the answer).
"""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self
from urllib.parse import quote_plus, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from contracts.wire import base64url
from hub.accounts import SUBJECT_CHARACTERS_MAX
from hub.settings import Settings, SettingsInvalid
from keys.fault import KeyFault
from keys.files import read_secret

SCOPE: Final = "openid"
#: What signs ID tokens: never `none`, and no secret that two share.
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519")
TIMEOUT_S = 10.0
DOCUMENT_BYTES_MAX = 256 * 1024
RANDOM_BYTES = 32
CLOCK_SKEW_S = 60
KEPT_CHARACTERS_MAX = 512
DISCOVERY: Final = "/.well-known/openid-configuration"
_LOCAL = ("127.0.0.1", "localhost", "::1")


class OpenIdRefused(Exception):
    """Nobody is signed in. `reason` is a word for the log: it never holds anything of the person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProviderUnreachable(Exception):
    """The provider does not answer as it must: nobody can sign in there just now."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a browser keeps while somebody signs in at the provider; nobody else ever sees it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Self:
        """Return a fresh one."""
        return cls(*(secrets.token_urlsafe(RANDOM_BYTES) for _ in range(3)))

    def write(self) -> str:
        """Return it as a cookie holds it."""
        return ".".join((self.state, self.nonce, self.verifier))

    @classmethod
    def read(cls, kept: str | None) -> Self:
        """Return what a cookie holds. Raises OpenIdRefused."""
        parts = [] if kept is None or len(kept) > KEPT_CHARACTERS_MAX else kept.split(".")
        if len(parts) != 3 or not all(parts):
            raise OpenIdRefused("errand-unknown")
        return cls(*parts)


@dataclass(slots=True)
class Provider:
    """One OpenID provider, and this hub as its client. What it publishes of itself is read once, and its keys anew."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_url: str
    _metadata: dict[str, Any] = field(default_factory=dict, init=False)
    _keys: KeySet = field(default_factory=lambda: KeySet([]), init=False)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def begin(self, errand: Errand) -> str:
        """Return the address at which somebody signs in. Raises ProviderUnreachable."""
        metadata = await self._read_metadata()
        challenge = base64url.encode(hashlib.sha256(errand.verifier.encode()).digest())
        asked = {"response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_url}
        asked |= {"scope": SCOPE, "state": errand.state, "nonce": errand.nonce}
        asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return str(httpx.URL(metadata["authorization_endpoint"]).copy_merge_params(asked))

    async def finish(self, errand: Errand, answer: Mapping[str, str], now: datetime) -> str:
        """Return who signed in, by the provider's answer. Raises OpenIdRefused, ProviderUnreachable."""
        if not hmac.compare_digest(answer.get("state", "").encode(), errand.state.encode()):
            raise OpenIdRefused("state-foreign")
        says_issuer = (await self._read_metadata()).get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", None if says_issuer else self.issuer) != self.issuer:
            raise OpenIdRefused("issuer-foreign")
        if "error" in answer or not answer.get("code"):
            raise OpenIdRefused("not-granted")
        token = await self._redeem(answer["code"], errand.verifier)
        return await self._judge(token, errand.nonce, now)

    async def _redeem(self, code: str, verifier: str) -> str:
        metadata = await self._read_metadata()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_url}
        form |= {"code_verifier": verifier}
        # Form-encoded inside the header: RFC 6749 section 2.3.1.
        credentials = httpx.BasicAuth(quote_plus(self.client_id), quote_plus(self.client_secret))
        status, given = await _fetch("POST", metadata["token_endpoint"], data=form, auth=credentials)
        if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED):
            raise OpenIdRefused("code-refused")
        token = given.get("id_token")
        if status != httpx.codes.OK or not isinstance(token, str):
            raise OpenIdRefused("no-id-token")
        return token

    async def _judge(self, token: str, nonce: str, now: datetime) -> str:
        """Judge an ID token; a key that is not known yet may be a new one of the provider's."""
        try:
            return read_subject(token, self._keys, self, nonce, now)
        except OpenIdRefused as refused:
            if refused.reason != "signature-invalid":
                raise
        await self._read_keys()
        return read_subject(token, self._keys, self, nonce, now)

    async def _read_metadata(self) -> dict[str, Any]:
        async with self._reading:
            if not self._metadata:
                found = await _read_document(self.issuer.rstrip("/") + DISCOVERY)
                if found.get("issuer") != self.issuer:
                    raise ProviderUnreachable("it calls itself otherwise than OPENID_ISSUER")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    check_address(found.get(name))
                self._metadata = found
        return self._metadata

    async def _read_keys(self) -> None:
        metadata = await self._read_metadata()
        try:
            self._keys = KeySet.import_key_set(await _read_document(metadata["jwks_uri"]))  # type: ignore[arg-type]
        except (JoseError, KeyError, TypeError, ValueError):
            raise ProviderUnreachable("its keys cannot be read") from None


async def _read_document(address: str) -> dict[str, Any]:
    status, found = await _fetch("GET", address)
    if status != httpx.codes.OK:
        raise ProviderUnreachable(f"status {status}")
    return found


async def _fetch(method: str, address: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """Return an answer's status and the object that it holds. Raises ProviderUnreachable."""
    body = b""
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream(method, address, **more) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise ProviderUnreachable("its document is too large")
        found = json.loads(body)
    except (httpx.HTTPError, ValueError) as error:
        raise ProviderUnreachable(type(error).__name__) from None
    if not isinstance(found, dict):
        raise ProviderUnreachable("its document is no object")
    return answer.status_code, found


def check_address(address: object) -> None:
    """Raise ProviderUnreachable unless an address is under TLS, or on this machine."""
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)):
        raise ProviderUnreachable("an address of it is not under TLS")


def read_subject(token: str, keys: KeySet, provider: Provider, nonce: str, now: datetime) -> str:
    """Return whom an ID token is about (Core section 3.1.3.7). Raises OpenIdRefused."""
    try:
        claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
    except (JoseError, ValueError):
        raise OpenIdRefused("signature-invalid") from None
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if claims.get("iss") != provider.issuer:
        raise OpenIdRefused("issuer-foreign")
    if audiences != [provider.client_id] or claims.get("azp", provider.client_id) != provider.client_id:
        raise OpenIdRefused("audience-foreign")
    until, since = claims.get("exp"), claims.get("iat")
    if type(until) is not int or type(since) is not int:
        raise OpenIdRefused("times-missing")
    if not since - CLOCK_SKEW_S <= now.timestamp() < until + CLOCK_SKEW_S:
        raise OpenIdRefused("expired")
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise OpenIdRefused("nonce-foreign")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARACTERS_MAX:
        raise OpenIdRefused("subject-missing")
    return subject


def find_provider(settings: Settings) -> Provider | None:
    """Return the provider that the settings name, or None. Raises SettingsInvalid."""
    if not settings.openid_issuer:
        return None
    if not settings.openid_client_id or settings.openid_client_secret_file is None:
        raise SettingsInvalid("OPENID_ISSUER wants OPENID_CLIENT_ID and OPENID_CLIENT_SECRET_FILE.")
    try:
        check_address(settings.openid_issuer)
        secret = read_secret(settings.openid_client_secret_file).decode("ascii").strip()
    except ProviderUnreachable:
        raise SettingsInvalid("OPENID_ISSUER must be under TLS.") from None
    except KeyFault as fault:
        raise SettingsInvalid(f"OPENID_CLIENT_SECRET_FILE {fault.says}.") from None
    except UnicodeDecodeError:
        raise SettingsInvalid("OPENID_CLIENT_SECRET_FILE holds no text in ASCII.") from None
    redirect = settings.hub_api_url.rstrip("/") + "/sign-in/openid/answer"
    return Provider(settings.openid_issuer, settings.openid_client_id, secret, redirect)
