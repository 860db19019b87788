"""What anybody may ask at the counter: how far an application is, which were moved last, which service times hold."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.events.ministry import StatusVerifier
from contracts.rules.clock import jakarta_day
from contracts.rules.rulebook import RuleSet
from hub import accounts
from hub.accounts import Attempt
from hub.clock import utc_now
from hub.progress import Progress
from hub.store import files, progress
from hub.store.database import Database
from hub.store.files import ListedFile
from hub.store.progress import Rulebooks

BOARD_ROWS = 14
INDEX_MAX = 2**63 - 1
# However many monitors and visitors look, the database is asked once in this time.
BOARD_KEPT = timedelta(seconds=5)
# By this, of no application, a secret is checked where there is nothing to check it by.
NOBODY = StatusVerifier(salt="0" * 22, sha256="0" * 64)


@dataclass(frozen=True, slots=True)
class Board:
    """The applications that were moved last, where those before them begin (None: there are none), when it was read."""

    rows: tuple[ListedFile, ...]
    following: int | None
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

    async def read_board(self, before: int | None = None) -> Board:
        """Return the applications that were moved last, or last before a place in the log: of all that there are."""
        now = utc_now()
        if before is not None:
            return await self._read_board(before, now)
        if self._board is None or now - self._board.read_at > BOARD_KEPT:
            self._board = await self._read_board(INDEX_MAX, now)
        return self._board

    async def _read_board(self, before: int, now: datetime) -> Board:
        async with self._database.connection() as connection:
            rows = await files.read_moved(connection, jakarta_day(now), before, BOARD_ROWS + 1)
        following = rows[BOARD_ROWS - 1].last_index if len(rows) > BOARD_ROWS else None
        return Board(tuple(rows[:BOARD_ROWS]), following, now)

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
