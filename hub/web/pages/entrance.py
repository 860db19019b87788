"""Signing in and out, and where each role begins."""

from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request, Response

from hub import accounts
from hub.accounts import AttemptRefused, AttemptsLimited, Role
from hub.clock import utc_now
from hub.openid import Errand, OpenIdRefused, Provider, ProviderUnreachable
from hub.store.database import Database
from hub.web.pages.frame import ROOMS, Pages, go_to
from hub.web.people import address_of

RETRY_AFTER_S = "900"

log = structlog.get_logger(__name__)


def create_router(database: Database, pages: Pages, provider: Provider | None) -> APIRouter:
    """Return the routes of the entrance. `provider`: the OpenID provider at which people may sign in as well."""
    router = APIRouter(include_in_schema=False)
    if provider is not None:
        router.include_router(_create_openid_router(database, pages, provider))
    openid = provider is not None

    @router.get("/sign-in")
    async def show_form(request: Request) -> Response:
        return pages.render(
            request, "sign_in.html", await pages.people.find(request), error=None, name="", openid=openid
        )

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        form = await pages.people.read_form(request, session=False)
        name, password = form.get("name", "").strip().lower(), form.get("password", "")
        try:
            token = await accounts.sign_in(database, name, password, address_of(request), utc_now())
        except AttemptRefused:
            status = HTTPStatus.UNAUTHORIZED
            return pages.render(request, "sign_in.html", None, status, error="refused", name=name, openid=openid)
        except AttemptsLimited:
            limited = {"Retry-After": RETRY_AFTER_S}
            status = HTTPStatus.TOO_MANY_REQUESTS
            return pages.render(
                request, "sign_in.html", None, status, limited, error="limited", name=name, openid=openid
            )
        return await _let_in(database, pages, request, token)

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


async def _let_in(database: Database, pages: Pages, request: Request, token: str) -> Response:
    # The session that the browser had before ends: a token that somebody else may have set is never taken over.
    if (old := pages.people.token(request)) is not None:
        await accounts.sign_out(database, old)
    response = go_to("/start")
    pages.people.keep(response, token)
    return response


def _create_openid_router(database: Database, pages: Pages, provider: Provider) -> APIRouter:
    router = APIRouter()

    def refuse(request: Request, error: str, status: HTTPStatus) -> Response:
        response = pages.render(request, "sign_in.html", None, status, error=error, name="", openid=True)
        pages.people.end_errand(response)
        return response

    @router.get("/sign-in/openid")
    async def leave(request: Request) -> Response:
        errand = Errand.new()
        try:
            response = go_to(await provider.begin(errand))
        except ProviderUnreachable as fault:
            log.warning("openid.unreachable", why=str(fault))
            return refuse(request, "openid_unreachable", HTTPStatus.SERVICE_UNAVAILABLE)
        pages.people.keep_errand(response, errand.write())
        return response

    @router.get("/sign-in/openid/answer")
    async def come_back(request: Request) -> Response:
        now = utc_now()
        try:
            errand = Errand.read(request.cookies.get(pages.people.errand_cookie))
            subject = await provider.finish(errand, dict(request.query_params), now)
            token = await accounts.sign_in_subject(database, subject, address_of(request), now)
        except OpenIdRefused as refused:
            log.warning("openid.refused", why=refused.reason)
            return refuse(request, "openid_refused", HTTPStatus.UNAUTHORIZED)
        except AttemptRefused:
            log.warning("openid.refused", why="subject-unknown")
            return refuse(request, "openid_unknown", HTTPStatus.FORBIDDEN)
        except ProviderUnreachable as fault:
            log.warning("openid.unreachable", why=str(fault))
            return refuse(request, "openid_unreachable", HTTPStatus.SERVICE_UNAVAILABLE)
        response = await _let_in(database, pages, request, token)
        pages.people.end_errand(response)
        return response

    return router
