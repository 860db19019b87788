"""What every page has: the language, who is signed in, the navigation of the role, and its own security headers."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.web.pages import language
from hub.web.pages.language import LANGUAGES, Speech
from hub.web.people import People

FOLDER = Path(__file__).parent
STYLE = FOLDER / "static" / "hub.css"
LANGUAGE_LIFETIME_S = 31_536_000
STYLE_CACHE = "public, max-age=31536000, immutable"
#: Nothing but our own style sheet and pictures, no script at all, forms to ourselves, in nobody's frame.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # With no-referrer a browser would say `Origin: null` of our own forms, which look like foreign ones then.
    "Referrer-Policy": "same-origin",
}
#: Where each role begins, and what it may open: (path, name of its text).
ROOMS: Mapping[Role, tuple[tuple[str, str], ...]] = {
    Role.APPLICANT: (("/status/file", "nav.file"),),
    Role.BANK: (("/bank", "nav.bank"),),
    Role.IMMIGRATION: (("/recommendation", "nav.recommendation"), ("/register", "nav.register")),
    Role.LABOUR_OFFICE: (("/register", "nav.register"),),
    Role.OVERSIGHT: (("/oversight", "nav.oversight"), ("/recommendation", "nav.recommendation")),
    Role.OPERATOR: (("/operations", "nav.operations"), ("/operations/repair", "nav.repair")),
    Role.OFFICER: (
        ("/work", "nav.work"),
        ("/register", "nav.register"),
    ),
    Role.MINISTER: (("/minister", "nav.minister"),),
}
PUBLIC = (
    ("/", "nav.home"),
    ("/status", "nav.status"),
    ("/statistics", "nav.statistics"),
    ("/board", "nav.board"),
)


class Pages:
    """Renders the templates."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.style = STYLE.read_bytes()
        self.style_path = f"/static/{hashlib.sha256(self.style).hexdigest()[:16]}.css"
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(
        self,
        request: Request,
        template: str,
        person: Person | None = None,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """Return a page in the visitor's language."""
        speech = Speech(language.choose(request))
        text = self._environment.get_template(template).render(
            t=speech.text,
            speech=speech,
            person=person,
            path=request.url.path,
            public=PUBLIC,
            rooms=() if person is None else ROOMS[person.role],
            languages=LANGUAGES,
            style_path=self.style_path,
            form_token=self.people.form_token(request),
            now=utc_now(),
            **values,
        )
        response = HTMLResponse(text, status, {**PAGE_HEADERS, "Content-Language": speech.language, **(headers or {})})
        response.headers["Vary"] = "Accept-Language, Cookie"
        if request.query_params.get("lang") in LANGUAGES:
            response.set_cookie(
                language.COOKIE, speech.language, max_age=LANGUAGE_LIFETIME_S, samesite="lax", httponly=True
            )
        return response


def go_to(path: str) -> RedirectResponse:
    """Send the browser to another page, by GET."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, PAGE_HEADERS)
