"""Where a machine gets an access token: OAuth 2.0 client credentials (RFC 6749 section 4.4).

    participant   client_assertion (private_key_jwt, RFC 7523), signed as for any request
    client        its id and secret, in the Authorization header or in the form; `hub clients add` made them

A token is opaque, good for five minutes, and for no more scopes than its owner has. Errors are those of RFC 6749.
"""

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from hub.clock import utc_now
from hub.store import clients
from hub.store.database import Connection, Database
from hub.trust import RegistryInForce
from hub.web import access
from hub.web.access import Caller, Guard
from hub.web.people import FORM_TYPE, read_fields
from hub.web.problems import MEDIA_TYPE, Problem
from hub.web.scopes import Scope, of_kind, read_scopes, write_scopes

TOKEN_LIFETIME = timedelta(minutes=5)
TOKEN_BYTES = 32
GRANT = "client_credentials"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CREDENTIALS_BYTES_MAX = 1_024
_TEXT = {"type": "string"}
_BODY = {
    "required": True,
    "content": {
        FORM_TYPE: {
            "schema": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"const": GRANT},
                    "scope": _TEXT,
                    "client_assertion_type": {"const": ASSERTION_TYPE},
                    "client_assertion": _TEXT,
                    "client_id": _TEXT,
                    "client_secret": _TEXT,
                },
            }
        }
    },
}
_GIVEN = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope"],
    "properties": {
        "access_token": _TEXT,
        "token_type": {"const": "Bearer"},
        "expires_in": {"type": "integer"},
        "scope": _TEXT,
    },
}
_ERROR = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {"error": _TEXT, "error_description": _TEXT},
}
_REFUSED = {"description": "An error of RFC 6749 section 5.2.", "content": {"application/json": {"schema": _ERROR}}}
# The form itself may be none: too large, or of another type.
_UNREAD = {"description": "No form.", "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": _GIVEN}}},
    400: {"description": "Refused, or no form.", "content": {**_REFUSED["content"], **_UNREAD["content"]}},  # type: ignore[dict-item]
    401: _REFUSED,
}


class TokenRefused(Exception):
    """No token: `error` is one of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


def _unknown(description: str) -> TokenRefused:
    return TokenRefused("invalid_client", description, HTTPStatus.UNAUTHORIZED)


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose token it becomes: the client's, or that of the participant which owns the key."""

    client: str | None
    kid: str | None
    scopes: frozenset[Scope]


def read_basic(authorization: str) -> tuple[str, str]:
    """Return id and secret of a Basic header, form-encoded inside (RFC 6749 section 2.3.1). Raises TokenRefused."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic" and len(encoded) <= _CREDENTIALS_BYTES_MAX:
        try:
            identity, colon, secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if colon:
            return unquote_plus(identity), unquote_plus(secret)
    raise _unknown("The Authorization header holds no client's id and secret.")


class TokenDesk:
    """Gives access tokens out."""

    def __init__(self, database: Database, in_force: RegistryInForce, guard: Guard) -> None:
        self._database = database
        self._in_force = in_force
        self._guard = guard

    async def give(self, form: dict[str, str], authorization: str | None, now: datetime) -> dict[str, Any]:
        """Return the answer with a new token (RFC 6749 section 5.1). Raises TokenRefused."""
        if "grant_type" not in form:
            raise TokenRefused("invalid_request", "grant_type is missing.")
        if form["grant_type"] != GRANT:
            raise TokenRefused("unsupported_grant_type", f"The only grant_type is {GRANT}.")
        asked = read_scopes(form.get("scope", ""))
        async with self._database.connection() as connection:
            owner = await self._identify(connection, form, authorization, now)
            if asked is None or not asked <= owner.scopes:
                raise TokenRefused("invalid_scope", "A scope is unknown, or not this client's.")
            token, scopes = secrets.token_urlsafe(TOKEN_BYTES), asked or owner.scopes
            whose, until = (owner.client, owner.kid), now + TOKEN_LIFETIME
            await clients.add_token(connection, access.digest_token(token), whose, scopes, until)
        life_s = int(TOKEN_LIFETIME.total_seconds())
        return {"access_token": token, "token_type": "Bearer", "expires_in": life_s, "scope": write_scopes(scopes)}

    async def _identify(
        self, connection: Connection, form: dict[str, str], authorization: str | None, now: datetime
    ) -> _Owner:
        ways = [authorization is not None, "client_assertion" in form, "client_secret" in form]
        if sum(ways) > 1:
            raise TokenRefused("invalid_request", "Show who you are in one way.")
        if "client_assertion" in form:
            return await self._identify_participant(connection, form, now)
        if authorization is not None:
            return await self._identify_client(connection, *read_basic(authorization))
        if "client_secret" in form:
            return await self._identify_client(connection, form.get("client_id", ""), form["client_secret"])
        raise _unknown("Show who you are: a client assertion, or an id with its secret.")

    async def _identify_participant(self, connection: Connection, form: dict[str, str], now: datetime) -> _Owner:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise TokenRefused("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}.")
        registry = await self._in_force.refresh(connection)
        try:
            asserted = access.read_assertion(form["client_assertion"], registry, self._guard.audience, now)
            await access.spend(connection, asserted)
        except Problem as problem:
            raise _unknown(problem.detail) from None
        if form.get("client_id", asserted.participant.id) != asserted.participant.id:
            raise _unknown("client_id is not who signed the assertion.")
        return _Owner(None, asserted.kid, of_kind(asserted.participant.kind))

    async def _identify_client(self, connection: Connection, identity: str, secret: str) -> _Owner:
        found = await clients.find(connection, identity) if identity.isascii() else None
        digest = bytes(32) if found is None else found.secret_digest
        genuine = hmac.compare_digest(digest, access.digest_token(secret))
        caller: Caller | None = None
        if found is not None and genuine:
            caller = access.name_client(found, await self._in_force.refresh(connection))
        if found is None or caller is None:
            raise _unknown("No client has this id and secret.")
        return _Owner(found.id, None, caller.scopes)


def create_router(database: Database, in_force: RegistryInForce, guard: Guard) -> APIRouter:
    """Return the token endpoint."""
    router = APIRouter()
    desk = TokenDesk(database, in_force, guard)

    @router.post("/api/v1/token", responses=_RESPONSES, openapi_extra={"requestBody": _BODY})
    async def give_token(request: Request) -> JSONResponse:
        """Give an access token for some minutes to whoever shows a client's secret or a participant's key."""
        form = await read_fields(request)
        try:
            return JSONResponse(await desk.give(form, request.headers.get("authorization"), utc_now()))
        except TokenRefused as refused:
            headers = {"WWW-Authenticate": "Basic"} if refused.status is HTTPStatus.UNAUTHORIZED else {}
            body = {"error": refused.error, "error_description": refused.description}
            return JSONResponse(body, refused.status, headers)

    return router
