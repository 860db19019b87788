"""Who calls: client assertions (private_key_jwt, RFC 7523 section 3) under the participants' API keys in the registry.

1. form      three canonical base64url parts; a header of exactly alg, kid and typ; no duplicate member anywhere
2. key       registered, for use `api`, in force now, and its own algorithm: the message never chooses one
3. signature
4. claims    iss = sub = the key's owner; aud = this API; exp within a minute
5. once      the jti is spent in PostgreSQL, after everything else held, so that strangers cannot fill the table
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jiter

from contracts.errors import Refusal
from contracts.registry import Participant, Registry
from contracts.wire import base64url
from contracts.wire.key import PublicKey
from hub.store import assertions
from hub.store.database import Database
from hub.web.problems import unauthenticated

LIFETIME_S_MAX = 60
CLOCK_SKEW_S = 5
ASSERTION_BYTES_MAX = 4_096
TYP = "JWT"
_JTI = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated participant, and the assertion that proved it."""

    participant: Participant
    jti: str
    expires_at: datetime


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
    if entry.revoked_at is not None or entry.kid in registry.suspended or not entry.nbf <= now < entry.exp:
        raise unauthenticated("key-not-in-force", "This key is revoked, suspended, expired or not valid yet.")
    if header["alg"] != entry.alg:
        raise unauthenticated("assertion-alg", "The alg is not the one that the registry binds to this key.")
    return participant, entry.public


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


def read_assertion(authorization: str, registry: Registry, audience: str, now: datetime) -> Caller:
    """Return who signed the `Authorization` header's assertion. Raises Problem (401)."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > ASSERTION_BYTES_MAX or not token.isascii():
        raise unauthenticated("assertion-missing", "Send a client assertion (RFC 7523) as a bearer token.")
    parts = token.encode("ascii").split(b".")
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
    return Caller(participant, claims["jti"], expires_at)


async def spend(database: Database, caller: Caller) -> None:
    """Use the caller's assertion up. Raises Problem (401) if it was used before."""
    async with database.connection() as connection:
        # The participant's id keeps one participant from spending another's jti.
        jti = f"{caller.participant.id}/{caller.jti}"
        if not await assertions.spend(connection, jti, caller.expires_at + timedelta(seconds=CLOCK_SKEW_S)):
            raise unauthenticated("assertion-replayed", "This assertion was used before: sign a new one per request.")
