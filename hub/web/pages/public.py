"""What everybody may see: the procedure, an application's own file by number and secret, and the hall's monitor."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from hub.accounts import Attempt, AttemptRefused, AttemptsLimited, Role
from hub.clock import utc_now
from hub.web.counter import Counter
from hub.web.pages.entrance import RETRY_AFTER_S
from hub.web.pages.frame import STYLE_CACHE, Pages, go_to
from hub.web.people import address_of
from hub.web.problems import refuse

BOARD_REFRESH_S = 20
# An open page is to be no older than a minute, the way of the message included.
FILE_REFRESH_S = 30
APPLICATION_CHARACTERS_MAX = 64
SECRET_CHARACTERS_MAX = 128
BOARD_ROUND_PAGES = 8
DIGITS_MAX = 18


def create_router(counter: Counter, pages: Pages) -> APIRouter:
    """Return the public routes."""
    router = APIRouter(include_in_schema=False)
    people = pages.people

    @router.get("/")
    async def home(request: Request) -> Response:
        rule_set = await counter.read_rule_set()
        return pages.render(request, "home.html", await people.find(request), rule_set=rule_set)

    @router.get("/status")
    async def show_form(request: Request) -> Response:
        person = await people.find(request)
        return pages.render(request, "status.html", person, error=None, application="")

    @router.post("/status")
    async def open_file(request: Request) -> Response:
        form = await people.read_form(request, session=False)
        application = form.get("application", "").strip().upper()[:APPLICATION_CHARACTERS_MAX]
        secret = form.get("secret", "").strip()[:SECRET_CHARACTERS_MAX]
        try:
            token = await counter.verify(Attempt("application", application, address_of(request)), secret, utc_now())
        except AttemptRefused:
            status, error, headers = HTTPStatus.FORBIDDEN, "refused", {}
        except AttemptsLimited:
            status, error, headers = HTTPStatus.TOO_MANY_REQUESTS, "limited", {"Retry-After": RETRY_AFTER_S}
        else:
            response = go_to("/status/file")
            people.keep(response, token)
            return response
        return pages.render(request, "status.html", None, status, headers, error=error, application=application)

    @router.get("/status/file")
    async def show_file(request: Request) -> Response:
        person = await people.find(request)
        if person is None or person.role is not Role.APPLICANT or person.application is None:
            return go_to("/status")
        found = await counter.read_file(person.application)
        if found is None:
            refuse(HTTPStatus.NOT_FOUND, "application-unknown", "Nothing is known of this application.")
        return pages.render(request, "file.html", person, headers={"Refresh": str(FILE_REFRESH_S)}, file=found)

    @router.get("/board")
    async def show_board(request: Request) -> Response:
        held = request.query_params.get("hold") == "1"
        before, page = _read_place(request)
        board = await counter.read_board(before)
        following = None if board.following is None else f"/board?before={board.following}&page={page + 1}"
        turn = following if following is not None and page < BOARD_ROUND_PAGES else "/board"
        # A monitor goes round: page after page of what was moved lately, and then from the newest on again.
        alone = before is None and following is None
        headers = {} if held else {"Refresh": f"{BOARD_REFRESH_S}" if alone else f"{BOARD_REFRESH_S}; url={turn}"}
        person = await people.find(request)
        return pages.render(
            request, "board.html", person, headers=headers, board=board, held=held, page=page, following=following,
            before=before,
        )  # fmt: skip

    @router.get(pages.style_path)
    async def give_style() -> Response:
        return Response(pages.style, media_type="text/css", headers={"Cache-Control": STYLE_CACHE})

    return router


def _read_place(request: Request) -> tuple[int | None, int]:
    """Return before which place in the log a board begins, and which page of a round that is. Raises Problem (400)."""
    before, page = (request.query_params.get(name, "") for name in ("before", "page"))
    if not all(one == "" or (len(one) <= DIGITS_MAX and one.isascii() and one.isdecimal()) for one in (before, page)):
        refuse(HTTPStatus.BAD_REQUEST, "place-malformed", "A place on the board is a number.")
    return (int(before), max(int(page or 1), 1)) if before else (None, 1)
