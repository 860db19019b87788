"""Who calls: a participant by a client assertion, or any machine by an access token that one or its secret got it.

The client assertion (private_key_jwt, RFC 7523 section 3) is signed under one of the participant's API keys:

1. form      three canonical base64url parts; a header of exactly alg, kid and typ; no duplicate member anywhere
2. key       registered, for use `api`, in force now, and its own algorithm: the message never chooses one
3. signature
4. claims    iss = sub = the key's owner; aud = this API; exp within a minute
5. once      the jti is spent in PostgreSQL, after everything else held, so that strangers cannot fill the table

An access token (RFC 6750) is opaque: what it stands for is looked up each time, so that a client that was disabled, and
a key that was revoked or suspended, are out at once.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import jiter
from fastapi import Request, Security
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlows
from fastapi.security.base import SecurityBase

from contracts.errors import Refusal
from contracts.registry import KeyEntry, Participant, Registry
from contracts.wire import base64url
from contracts.wire.key import PublicKey
from hub.accounts import Role
from hub.clock import utc_now
from hub.store import assertions, clients
from hub.store.database import Connection, Database
from hub.trust import RegistryInForce
from hub.web.frame import note_verdict
from hub.web.limits import Limiter
from hub.web.problems import Problem, unauthenticated
from hub.web.scopes import DESCRIPTIONS, Scope, of_kind

LIFETIME_S_MAX = 60
CLOCK_SKEW_S = 5
ASSERTION_BYTES_MAX = 4_096
TYP = "JWT"
_JTI = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Asserted:
    """An authenticated participant, and the assertion that proved it."""

    participant: Participant
    kid: str
    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """A machine that showed who it is: a participant of the registry, or a client with a role.

    `id` is what it is called where requests are counted or kept; a bank's client has a participant too.
    """

    id: str
    scopes: frozenset[Scope]
    participant: Participant | None
    role: Role | None = None
    unit: str | None = None


def _read_object(part: bytes, name: str) -> dict[str, Any]:
    raw = base64url.decode(part)
    if raw is None:
        raise unauthenticated("assertion-malformed", f"The assertion's {name} is not canonical base64url.")
    try:
        found = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        raise unauthenticated("assertion-malformed", f"The assertion's {name} is not strict JSON.") from None
    if not isinstance(found, dict):
        raise unauthenticated("assertion-malformed", f"The assertion's {name} is not a JSON object.")
    return found


def _find_key(registry: Registry, header: dict[str, Any], now: datetime) -> tuple[Participant, PublicKey]:
    if header.keys() != {"alg", "kid", "typ"} or header["typ"] != TYP or not isinstance(header["kid"], str):
        raise unauthenticated("assertion-header", "The header must have exactly alg, kid and typ, and typ must be JWT.")
    found = registry.key(header["kid"])
    if found is None:
        raise unauthenticated("key-unknown", "The registry does not know this kid.")
    participant, entry = found
    if entry.use != "api":
        raise unauthenticated("key-use", "This key is not registered for use with the API.")
    if not _is_in_force(registry, entry, now):
        raise unauthenticated("key-not-in-force", "This key is revoked, suspended, expired or not valid yet.")
    if header["alg"] != entry.alg:
        raise unauthenticated("assertion-alg", "The alg is not the one that the registry binds to this key.")
    return participant, entry.public


def _is_in_force(registry: Registry, entry: KeyEntry, now: datetime) -> bool:
    return entry.revoked_at is None and entry.kid not in registry.suspended and entry.nbf <= now < entry.exp


def _check_claims(claims: dict[str, Any], participant: Participant, audience: str, now: datetime) -> datetime:
    if claims.get("iss") != participant.id or claims.get("sub") != participant.id:
        raise unauthenticated("assertion-issuer", "iss and sub must both be the participant that owns the key.")
    if claims.get("aud") not in (audience, [audience]):
        raise unauthenticated("assertion-audience", "aud must be this API's own address.")
    exp, skew = claims.get("exp"), timedelta(seconds=CLOCK_SKEW_S)
    if type(exp) is not int or not 0 <= exp < 2**40:
        raise unauthenticated("assertion-expiry", "exp must be whole seconds since 1970.")
    expires_at = datetime.fromtimestamp(exp, UTC)
    if not now - skew < expires_at <= now + timedelta(seconds=LIFETIME_S_MAX) + skew:
        raise unauthenticated("assertion-expiry", f"exp must lie ahead, and at most {LIFETIME_S_MAX} seconds.")
    nbf = claims.get("nbf", exp)
    if type(nbf) is not int or (nbf > exp if "nbf" not in claims else nbf > now.timestamp() + CLOCK_SKEW_S):
        raise unauthenticated("assertion-expiry", "nbf must not lie ahead.")
    if not isinstance(claims.get("jti"), str) or not _JTI.fullmatch(claims["jti"]):
        raise unauthenticated("assertion-jti", "jti must be 1 to 128 printable characters.")
    return expires_at


def read_bearer(authorization: str | None) -> str:
    """Return the bearer token of an `Authorization` header. Raises Problem (401)."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > ASSERTION_BYTES_MAX or not token.isascii():
        raise unauthenticated("assertion-missing", "Send a client assertion or an access token as a bearer token.")
    return token


def read_assertion(assertion: str, registry: Registry, audience: str, now: datetime) -> Asserted:
    """Return who signed a client assertion. Raises Problem (401)."""
    if not assertion.isascii() or len(assertion) > ASSERTION_BYTES_MAX:
        raise unauthenticated("assertion-malformed", f"An assertion is ASCII of at most {ASSERTION_BYTES_MAX} bytes.")
    parts = assertion.encode("ascii").split(b".")
    if len(parts) != 3:
        raise unauthenticated("assertion-malformed", "A compact JWS has three parts.")
    participant, key = _find_key(registry, _read_object(parts[0], "header"), now)
    claims = _read_object(parts[1], "payload")
    signature = base64url.decode(parts[2])
    try:
        genuine = signature is not None and key.verify(signature, parts[0] + b"." + parts[1])
    except Refusal:
        genuine = False
    if not genuine:
        raise unauthenticated("signature-invalid", "The signature does not verify.")
    expires_at = _check_claims(claims, participant, audience, now)
    return Asserted(participant, key.kid, claims["jti"], expires_at)


async def spend(connection: Connection, asserted: Asserted) -> None:
    """Use an assertion up. Raises Problem (401) if it was used before."""
    # The participant's id keeps one participant from spending another's jti.
    jti = f"{asserted.participant.id}/{asserted.jti}"
    if not await assertions.spend(connection, jti, asserted.expires_at + timedelta(seconds=CLOCK_SKEW_S)):
        raise unauthenticated("assertion-replayed", "This assertion was used before: sign a new one per request.")


def digest_token(token: str) -> bytes:
    """Return what is kept of an access token or a client's secret, both of which are random."""
    return hashlib.sha256(token.encode()).digest()


class Guard:
    """Admits machines to the API's routes: each is somebody, may ask this, and has not asked too often."""

    def __init__(self, database: Database, in_force: RegistryInForce, audience: str, limiter: Limiter | None) -> None:
        """`audience` is this API's own address, which assertions must name."""
        self._database = database
        self._in_force = in_force
        self.audience = audience
        self._limiter = limiter

    async def admit(self, request: Request, scope: Scope) -> Caller:
        """Return who asks. Raises Problem (401, 403, 429)."""
        token, now = read_bearer(request.headers.get("authorization")), utc_now()
        async with self._database.connection() as connection:
            registry = await self._in_force.refresh(connection)
            if token.count(".") == 2:
                asserted = read_assertion(token, registry, self.audience, now)
                caller = self._name_participant(asserted.participant)
                self._count(request, caller)
                await spend(connection, asserted)
            else:
                caller = await self._find(connection, registry, token, now)
                self._count(request, caller)
        if scope not in caller.scopes:
            headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
            detail = f"This credential is not good for {scope}."
            raise Problem(HTTPStatus.FORBIDDEN, "scope-not-granted", detail, headers)
        return caller

    def _name_participant(self, participant: Participant) -> Caller:
        return Caller(f"participant {participant.id}", of_kind(participant.kind), participant)

    async def _find(self, connection: Connection, registry: Registry, token: str, now: datetime) -> Caller:
        found = await clients.find_token(connection, digest_token(token), now)
        caller = None
        if found is not None and found.kid is not None:
            owner = registry.key(found.kid)
            if owner is not None and owner[1].use == "api" and _is_in_force(registry, owner[1], now):
                caller = self._name_participant(owner[0])
        elif found is not None and found.client is not None:
            client = await clients.find(connection, found.client)
            caller = None if client is None else name_client(client, registry)
        if found is None or caller is None:
            raise unauthenticated("token-invalid", "This access token is unknown, expired, or its owner's no more.")
        granted = caller.scopes & {Scope(word) for word in found.scopes}
        return Caller(caller.id, granted, caller.participant, caller.role, caller.unit)

    def _count(self, request: Request, caller: Caller) -> None:
        if self._limiter is not None:
            note_verdict(request, self._limiter.take(caller.id, time.monotonic()))

    def require(self, scope: Scope) -> Any:
        """Return what a route's parameter `caller` is annotated with, for a route that asks for a scope."""
        return Security(Requirement(self, scope), scopes=[scope.value])


def name_client(client: clients.Client, registry: Registry) -> Caller | None:
    """Return a client as a caller, or None where its participant is none any more."""
    participant = None if client.participant is None else registry.participants.get(client.participant)
    if client.participant is not None and participant is None:
        return None
    scopes = frozenset(Scope(word) for word in client.scopes)
    return Caller(f"client {client.id}", scopes, participant, Role(client.role), client.unit)


class Requirement(SecurityBase):
    """A route's need for a caller with a scope, as FastAPI and OpenAPI understand it."""

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self._guard = guard
        self._scope = scope
        flow = OAuthFlowClientCredentials(
            tokenUrl="/api/v1/token", scopes={one.value: said for one, said in DESCRIPTIONS.items()}
        )
        self.model = OAuth2(flows=OAuthFlows(clientCredentials=flow))
        self.scheme_name = "oauth2"

    async def __call__(self, request: Request) -> Caller:
        """Return who asks. Raises Problem."""
        return await self._guard.admit(request, self._scope)
