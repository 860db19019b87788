"""Signing in and out, and where each role begins."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from hub import accounts
from hub.accounts import AttemptRefused, AttemptsLimited, Role
from hub.clock import utc_now
from hub.store.database import Database
from hub.web.pages.frame import ROOMS, Pages, go_to
from hub.web.people import address_of

RETRY_AFTER_S = "900"


def create_router(database: Database, pages: Pages) -> APIRouter:
    """Return the routes of the entrance."""
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    async def show_form(request: Request) -> Response:
        return pages.render(request, "sign_in.html", await pages.people.find(request), error=None, name="")

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        form = await pages.people.read_form(request, session=False)
        name, password = form.get("name", "").strip().lower(), form.get("password", "")
        try:
            token = await accounts.sign_in(database, name, password, address_of(request), utc_now())
        except AttemptRefused:
            return pages.render(request, "sign_in.html", None, HTTPStatus.UNAUTHORIZED, error="refused", name=name)
        except AttemptsLimited:
            limited = {"Retry-After": RETRY_AFTER_S}
            status = HTTPStatus.TOO_MANY_REQUESTS
            return pages.render(request, "sign_in.html", None, status, limited, error="limited", name=name)
        # The session that the browser had before ends: a token that somebody else may have set is never taken over.
        if (old := pages.people.token(request)) is not None:
            await accounts.sign_out(database, old)
        response = go_to("/start")
        pages.people.keep(response, token)
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await pages.people.read_form(request, session=True)
        if (token := pages.people.token(request)) is not None:
            await accounts.sign_out(database, token)
        response = go_to("/")
        pages.people.forget(response)
        return response

    @router.get("/start")
    async def start(request: Request) -> Response:
        person = await pages.people.require(request, *Role)
        rooms = ROOMS[person.role]
        return go_to(rooms[0][0] if rooms else "/")

    return router
