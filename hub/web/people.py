"""Who sits at the browser: cookies, what each role may open, and that a form was sent by our own page.

The session's cookie is HttpOnly and SameSite=Lax, and under TLS Secure with the `__Host-` prefix, so that no other host
or path can set it. A form that changes something carries a token that only a page of the same session can know, and
must come from our own origin.
"""

import hashlib
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request, Response

from contracts.wire import base64url
from hub import accounts
from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.store.database import Database
from hub.web.problems import Problem, refuse

FORM_BYTES_MAX = 8_192
FORM_FIELDS_MAX = 20
TOKEN_CHARACTERS_MAX = 128
ERRAND_LIFETIME_S = 600
FORM_TYPE = "application/x-www-form-urlencoded"


class SignInWanted(Exception):
    """Nobody is signed in, and the page is for somebody; `path` is the page."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class People:
    """Recognises people by their session's cookie. `secure`: the pages are served under TLS."""

    def __init__(self, database: Database, secure: bool) -> None:
        self._database = database
        self._secure = secure
        self.cookie = "__Host-session" if secure else "session"
        self.errand_cookie = "__Host-errand" if secure else "errand"

    def token(self, request: Request) -> str | None:
        """Return the session's token, whether it is good or not."""
        token = request.cookies.get(self.cookie)
        return token if token and len(token) <= TOKEN_CHARACTERS_MAX else None

    async def find(self, request: Request) -> Person | None:
        """Return who asks, or None."""
        token = self.token(request)
        return None if token is None else await accounts.recognise(self._database, token, utc_now())

    async def require(self, request: Request, *roles: Role) -> Person:
        """Return who asks. Raises SignInWanted, or Problem (403) for somebody with another role."""
        person = await self.find(request)
        if person is None or (person.role is Role.APPLICANT and Role.APPLICANT not in roles):
            raise SignInWanted(request.url.path)
        if person.role not in roles:
            refuse(HTTPStatus.FORBIDDEN, "role-not-granted", "This page is for another role.")
        return person

    def keep(self, response: Response, token: str) -> None:
        """Give the browser its session."""
        response.set_cookie(self.cookie, token, secure=self._secure, httponly=True, samesite="lax", path="/")

    def forget(self, response: Response) -> None:
        """Take the browser's session away."""
        response.delete_cookie(self.cookie, secure=self._secure, httponly=True, samesite="lax", path="/")

    def keep_errand(self, response: Response, errand: str) -> None:
        """Let the browser keep, for some minutes, what must come back with the provider's answer."""
        response.set_cookie(
            self.errand_cookie,
            errand,
            max_age=ERRAND_LIFETIME_S,
            secure=self._secure,
            httponly=True,
            samesite="lax",
            path="/",
        )

    def end_errand(self, response: Response) -> None:
        """Take that away: an answer counts once."""
        response.delete_cookie(self.errand_cookie, secure=self._secure, httponly=True, samesite="lax", path="/")

    def form_token(self, request: Request) -> str:
        """Return what a form of this session carries; empty without a session."""
        token = self.token(request)
        return "" if token is None else base64url.encode(hashlib.sha256(b"form\0" + token.encode()).digest())

    async def read_form(self, request: Request, *, session: bool) -> Mapping[str, str]:
        """Return a form that our own page sent; with `session`, one of the same session. Raises Problem."""
        check_origin(request)
        form = await read_fields(request)
        if session and not hmac.compare_digest(form.get("form_token", ""), self.form_token(request) or "-"):
            refuse(HTTPStatus.FORBIDDEN, "form-foreign", "This form was not sent by a page of this session.")
        return form


def check_origin(request: Request) -> None:
    """Raise Problem (403) where a browser says that another site sent this. Programs say nothing and have no cookie."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign:
        refuse(HTTPStatus.FORBIDDEN, "form-foreign", "This form was sent by another site.")


async def read_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises Problem (400, 413, 415)."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != FORM_TYPE:
        refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "form-expected", f"Send a form ({FORM_TYPE}).")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "form-too-large", "The form is too large.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "form-malformed", "The form cannot be read.") from None
    return {name: value for name, value in pairs if "\0" not in value}


def address_of(request: Request) -> str:
    """Return where the request comes from, as the proxy in front of the hub says it."""
    return "unknown" if request.client is None else request.client.host
