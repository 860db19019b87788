"""The operator's repair desk: refused messages by their cause, and what two persons may have done about them.

The pages only ask: what is asked becomes an action, which the process `deadlines` judges and carries out.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from contracts.errors import Code
from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.lookups import REASON_CHARACTERS_MAX, REASON_CHARACTERS_MIN, ReasonMissing, Register
from hub.store import attention, quarantine, repairs
from hub.store.attention import Group
from hub.store.database import Database
from hub.store.repairs import Action, Asked, Progress
from hub.web.pages.frame import Pages, go_to
from hub.web.pages.staff import explain
from hub.web.problems import Problem, refuse

PATH = "/operations/repair"
REFRESH_S = 2
REPAIRS_SHOWN_MAX = 20
MESSAGES_SHOWN_MAX = 200
ID_MAX = 2**63 - 1
MESSAGES_MAX = 1_000
VERBS = frozenset(("rehearse", "send_back", "request", "approve", "stop"))


@dataclass(frozen=True, slots=True)
class Run:
    """A dry run: what was asked, and, once it was made, what it showed and how far it is."""

    actions: list[Action]
    progress: Progress | None
    document: Mapping[str, Any] | None
    outcomes: Mapping[int, str]

    @property
    def moving(self) -> bool:
        """Whether it will look different in a moment."""
        running = self.progress is not None and self.progress.repair.state == "running"
        return running or any(action.outcome is None for action in self.actions)


class Desk:
    """Reads what the repair desk shows, and keeps what is asked there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_front(self) -> tuple[list[Group], list[Progress]]:
        """Return the refused messages by code and participant, and the newest dry runs."""
        async with self._database.connection() as connection:
            return await attention.read_groups(connection), await repairs.list_repairs(
                connection, limit=REPAIRS_SHOWN_MAX
            )

    async def read_group(self, code: str, participant: str | None) -> list[dict[str, Any]]:
        """Return the oldest messages of a group, without their bytes."""
        async with self._database.connection() as connection:
            return await quarantine.list_group(connection, code, participant, MESSAGES_SHOWN_MAX)

    async def read_message(self, parked_id: int) -> tuple[dict[str, Any] | None, list[Action]]:
        """Return a message without its bytes, and what was asked about it."""
        async with self._database.connection() as connection:
            found = await quarantine.read_metadata(connection, parked_id)
            return found, await repairs.list_actions(connection, parked_id=parked_id)

    async def read_run(self, repair_id: int) -> Run:
        """Return a dry run and what became of it."""
        async with self._database.connection() as connection:
            actions = await repairs.list_actions(connection, repair_id=repair_id)
            found = await repairs.list_repairs(connection, repair_id)
            document = await repairs.read_document(connection, repair_id)
            outcomes = await repairs.list_outcomes(connection, repair_id)
        shown = None if document is None else json.loads(document)
        return Run(actions, found[0] if found else None, shown, outcomes)

    async def ask(self, asked: Asked) -> int:
        """Keep what is asked; return its number. Raises Problem for a form that somebody else has sent."""
        async with self._database.connection() as connection:
            action_id = await repairs.ask(connection, asked)
        if action_id is None:
            refuse(HTTPStatus.CONFLICT, "form-used", "This form was sent before.")
        return action_id

    async def look(self, action_id: int) -> tuple[bytes | None, bytes | None, str] | None:
        """Return the bytes that an action looks at."""
        async with self._database.connection() as connection:
            return await repairs.look(connection, action_id)


def read_number(text: str | None, largest: int = ID_MAX) -> int | None:
    """Read a number of a form or an address; None where there is none. Raises Problem."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= largest):
        refuse(HTTPStatus.BAD_REQUEST, "number-malformed", "That is no number that can stand here.")
    return int(text)


def read_asked(form: Mapping[str, str], verb: str, person: Person) -> Asked:
    """Read what a form asks. Raises Problem, or ReasonMissing."""
    reason = " ".join(form.get("reason", "").split())[:REASON_CHARACTERS_MAX]
    if len(reason) < REASON_CHARACTERS_MIN:
        raise ReasonMissing
    try:
        token = uuid.UUID(form.get("token", ""))
        code = str(Code(form["code"])) if form.get("code") else None
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "form-malformed", "The form cannot be read.") from None
    return Asked(
        token, verb, person.name or "", reason,
        parked_id=read_number(form.get("message")), code=code, participant=form.get("participant") or None,
        messages_max=read_number(form.get("messages_max"), MESSAGES_MAX), repair_id=read_number(form.get("run")),
        digest=form.get("digest") or None,
    )  # fmt: skip


def check_asked(asked: Asked) -> None:
    """Raise Problem unless a form names what its verb is about."""
    about_run = asked.verb in ("request", "approve", "stop")
    one = asked.parked_id is not None
    if about_run != (asked.repair_id is not None) or (not about_run and one == (asked.code is not None)):
        refuse(HTTPStatus.BAD_REQUEST, "form-malformed", "The form does not say what it is about.")
    if asked.digest is not None and (len(asked.digest) != 64 or not asked.digest.isalnum()):
        refuse(HTTPStatus.BAD_REQUEST, "form-malformed", "That is no digest.")


def spell(value: bytes | None) -> str:
    """Return a refused message's bytes for the eye: as JSON where they are, else as text with marks for the rest."""
    text = (value or b"").decode("utf-8", "backslashreplace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def create_router(database: Database, register: Register, pages: Pages) -> APIRouter:
    """Return the repair desk's routes."""
    router = APIRouter(include_in_schema=False)
    desk = Desk(database)

    async def show(request: Request, person: Person, error: str | None = None) -> Response:
        asked = request.query_params
        named: dict[str, Any] = {"token": uuid.uuid4(), "explain": explain, "error": error}
        status = HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK
        if (run_id := read_number(asked.get("run"))) is not None:
            run = await desk.read_run(run_id)
            if not run.actions:
                refuse(HTTPStatus.NOT_FOUND, "run-absent", "There is no such dry run.")
            headers = {"Refresh": str(REFRESH_S)} if run.moving else None
            return pages.render(request, "repair_run.html", person, status, headers, run_id=run_id, run=run, **named)
        if (parked_id := read_number(asked.get("message"))) is not None:
            message, actions = await desk.read_message(parked_id)
            if message is None:
                refuse(HTTPStatus.NOT_FOUND, "message-absent", "There is no such message in quarantine.")
            named |= {"message": message, "actions": actions, "body": None}
            return pages.render(request, "repair_message.html", person, status, **named)
        if (code := asked.get("code")) in set(Code):
            participant = asked.get("participant") or None
            messages = await desk.read_group(str(code), participant)
            named |= {"code": str(code), "participant": participant, "messages": messages}
            return pages.render(request, "repair_group.html", person, status, **named)
        groups, runs = await desk.read_front()
        return pages.render(request, "repair.html", person, status, groups=groups, runs=runs, **named)

    @router.get(PATH)
    async def show_desk(request: Request) -> Response:
        return await show(request, await pages.people.require(request, Role.OPERATOR))

    @router.post(PATH)
    async def ask(request: Request) -> Response:
        person = await pages.people.require(request, Role.OPERATOR)
        form = await pages.people.read_form(request, session=True)
        verb = form.get("verb", "")
        if verb == "look":
            return await look(request, person, form)
        if verb not in VERBS:
            refuse(HTTPStatus.BAD_REQUEST, "form-malformed", "The form does not say what is asked.")
        try:
            asked = read_asked(form, verb, person)
        except ReasonMissing:
            return await show(request, person, "reason_missing")
        check_asked(asked)
        action_id = await desk.ask(asked)
        return go_to(f"{PATH}?{urlencode(_place_of(asked, action_id))}")

    async def look(request: Request, person: Person, form: Mapping[str, str]) -> Response:
        """Show a message's bytes, once it is written down who looks, and why: in the look-ups' own log and here."""
        try:
            asked = read_asked(form, "look", person)
        except ReasonMissing:
            return await show(request, person, "reason_missing")
        message, actions = await desk.read_message(asked.parked_id or 0)
        if message is None:
            refuse(HTTPStatus.NOT_FOUND, "message-absent", "There is no such message in quarantine.")
        await register.note(person, "repair", f"quarantine/{asked.parked_id}", asked.reason, utc_now())
        found = await desk.look(await desk.ask(asked._replace(code=None, participant=None, repair_id=None)))
        body = "" if found is None else spell(found[1])
        values: dict[str, Any] = {"message": message, "actions": actions, "body": body}
        values |= {"token": uuid.uuid4(), "explain": explain, "error": None}
        return pages.render(request, "repair_message.html", person, **values)

    return router


def _place_of(asked: Asked, action_id: int) -> dict[str, str]:
    """Return where to look for what came of it."""
    if asked.verb == "rehearse":
        return {"run": str(action_id)}
    if asked.repair_id is not None:
        return {"run": str(asked.repair_id)}
    if asked.parked_id is not None:
        return {"message": str(asked.parked_id)}
    return {"code": asked.code or "", "participant": asked.participant or ""}
