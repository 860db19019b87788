"""Puts the pages together, and makes errors pages for people where the API gives problem documents."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, Response

from hub.lookups import Register
from hub.openid import Provider
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web.counter import Counter
from hub.web.pages import entrance, figures, oversight, public, repair, staff, worklist
from hub.web.pages import register as register_page
from hub.web.pages.frame import Pages, go_to
from hub.web.people import People, SignInWanted
from hub.web.problems import Problem

API = "/api/"
_KINDS = {HTTPStatus.NOT_FOUND: "missing", HTTPStatus.METHOD_NOT_ALLOWED: "missing", HTTPStatus.FORBIDDEN: "forbidden"}


def create_pages(database: Database, api_url: str) -> Pages:
    """Return what renders the pages that are served at `api_url`."""
    return Pages(People(database, secure=urlsplit(api_url).scheme == "https"))


def create_routers(
    database: Database,
    in_force: RegistryInForce,
    register: Register,
    counter: Counter,
    pages: Pages,
    provider: Provider | None = None,
) -> list[APIRouter]:
    """Return the routes of all pages."""
    return [
        public.create_router(counter, pages),
        entrance.create_router(database, pages, provider),
        figures.create_router(database, pages),
        worklist.create_router(database, pages),
        staff.create_router(database, in_force, register, pages),
        repair.create_router(database, register, pages),
        oversight.create_router(database, register, pages),
        register_page.create_router(database, in_force, register, pages),
    ]


def install(app: FastAPI, pages: Pages) -> None:
    """Make `app` answer a browser's errors with pages."""

    async def send_to_entrance(request: Request, error: Exception) -> Response:
        return go_to("/sign-in")

    app.add_exception_handler(SignInWanted, send_to_entrance)
    app.state.render_problem = make_renderer(pages)


def make_renderer(pages: Pages) -> Callable[[Request, Problem], Awaitable[Response | None]]:
    """Return what makes a page of a problem, or None where a program asked."""

    async def render(request: Request, problem: Problem) -> Response | None:
        if request.url.path.startswith(API) or "text/html" not in request.headers.get("accept", ""):
            return None
        kind = _KINDS.get(problem.status, "busy" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "wrong")
        code = int(problem.status)
        return pages.render(request, "error.html", None, problem.status, problem.headers, kind=kind, code=code)

    return render
