"""What everybody may see: the procedure, an application's own file by number and secret, and the hall's monitor."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from contracts.events.ministry import StatusVerifier
from contracts.rules.rulebook import RuleSet
from hub import accounts
from hub.accounts import Attempt, AttemptRefused, AttemptsLimited, Role
from hub.clock import utc_now
from hub.progress import Progress
from hub.store import progress
from hub.store.database import Database
from hub.store.progress import Rulebooks
from hub.web.pages.entrance import RETRY_AFTER_S
from hub.web.pages.frame import STYLE_CACHE, Pages, go_to
from hub.web.people import address_of
from hub.web.problems import refuse

BOARD_ROWS = 14
BOARD_REFRESH_S = 20
FILE_REFRESH_S = 60
APPLICATION_CHARACTERS_MAX = 64
SECRET_CHARACTERS_MAX = 128
# However many monitors and visitors look, the database is asked once in this time.
BOARD_KEPT = timedelta(seconds=5)
# By this, of no application, a secret is checked where there is nothing to check it by.
NOBODY = StatusVerifier(salt="0" * 22, sha256="0" * 64)


@dataclass(frozen=True, slots=True)
class Board:
    """The applications that were moved last, and when that was read."""

    rows: tuple[Progress, ...]
    read_at: datetime


class Counter:
    """Reads what the public pages show."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rulebooks = Rulebooks()
        self._board: Board | None = None

    async def read_file(self, application: str) -> Progress | None:
        """Return how far one application is."""
        async with self._database.connection() as connection:
            rulebook = await self._rulebooks.read(connection)
            found = await progress.read_progress(connection, rulebook, [application], utc_now())
        return found.get(application)

    async def read_board(self) -> Board:
        """Return the applications that were moved last."""
        now = utc_now()
        if self._board is None or now - self._board.read_at > BOARD_KEPT:
            async with self._database.connection() as connection:
                rulebook = await self._rulebooks.read(connection)
                newest = await progress.read_newest(connection, BOARD_ROWS)
                found = await progress.read_progress(connection, rulebook, newest, now)
            self._board = Board(tuple(found[number] for number in newest if number in found), now)
        return self._board

    async def read_rule_set(self) -> RuleSet | None:
        """Return the rule set for an application of today."""
        async with self._database.connection() as connection:
            rulebook = await self._rulebooks.read(connection)
        return rulebook.choose(utc_now().date())

    async def verify(self, attempt: Attempt, secret: str, now: datetime) -> str:
        """Return the token of a session for the application. Raises AttemptsLimited or AttemptRefused.

        An application that does not exist is treated, and takes as long, as one with another secret.
        """
        await accounts.check_limit(self._database, attempt, now)
        async with self._database.connection() as connection:
            verifier = await progress.read_verifier(connection, attempt.subject)
        genuine = (verifier or NOBODY).knows(secret) and verifier is not None
        return await accounts.admit_applicant(self._database, attempt, genuine, now)


def create_router(database: Database, pages: Pages) -> APIRouter:
    """Return the public routes."""
    router = APIRouter(include_in_schema=False)
    counter = Counter(database)
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
        headers = {} if held else {"Refresh": str(BOARD_REFRESH_S)}
        board = await counter.read_board()
        return pages.render(request, "board.html", await people.find(request), headers=headers, board=board, held=held)

    @router.get(pages.style_path)
    async def give_style() -> Response:
        return Response(pages.style, media_type="text/css", headers={"Cache-Control": STYLE_CACHE})

    return router
