"""What staff see: a bank's differences and refusals, one recommendation with its proof, and the operator's screen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from contracts.errors import EXPLANATIONS, Code
from contracts.rules.reasons import REASONS
from hub.accounts import Role
from hub.clock import utc_now
from hub.diagnosis import APPEND_AHEAD_MAX
from hub.lookups import ReasonMissing, Register, SealMissing
from hub.release import Shelf, read_published
from hub.store import attention, condition, differences, losses, sequences
from hub.store.attention import Cause, LogState
from hub.store.database import Connection, Database
from hub.trust import RegistryInForce
from hub.web.pages.frame import Pages
from hub.web.pages.language import Speech

OPERATIONS_REFRESH_S = 30
RECENT = timedelta(days=1)
APPLICATION_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A recommendation as Immigration asks for it: what stands, since when, on what basis, and its proof."""

    application: str
    standing: Mapping[str, Any]
    since: datetime | None
    leaf_index: int | None
    proof: str | None


@dataclass(frozen=True, slots=True)
class Connector:
    """How a source is: when it was heard of last, how many numbers came behind a missing one, how its clock goes.

    `way` is the shortest time of late from its record of a fact to the hub's receipt.
    """

    owner: str
    source: str
    at: datetime | None
    complete: int
    behind_gap: int
    way: timedelta | None

    @property
    def is_ahead(self) -> bool:
        """Whether its clock is surely ahead of the hub's."""
        return self.way is not None and self.way < -APPEND_AHEAD_MAX


@dataclass(frozen=True, slots=True)
class Condition:
    """What an operator asks first: what broke, what is safe, since when, and who is affected."""

    causes: list[Cause]
    deferred: list[dict[str, Any]]
    unsent: int
    waiting_since: datetime | None
    log: LogState
    lost: list[losses.Loss]
    differences: dict[tuple[str, str], int]
    unsent_by_topic: dict[str, int]
    connectors: list[Connector]
    database_clock: timedelta
    broker_way: timedelta | None

    @property
    def broken(self) -> int:
        """How many things ask for somebody."""
        silent = sum(1 for one in self.connectors if one.is_ahead)
        return len(self.causes) + len(self.deferred) + len(self.lost) + len(self.gaps) + silent

    @property
    def gaps(self) -> list[Connector]:
        """Sources of which something is missing."""
        return [one for one in self.connectors if one.behind_gap]


def explain(speech: Speech, code: str) -> tuple[str, str]:
    """Return what a refusal code means and what to do about it, in the reader's language."""
    explanation = EXPLANATIONS[Code(code)]
    if speech.language == "id":
        return explanation.meaning_id, explanation.remedy_id
    return explanation.meaning_en, explanation.remedy_en


def say_reason(speech: Speech, word: str) -> str:
    """Return why a recommendation does not stand, in the reader's language."""
    reason = REASONS[word]
    return reason.text_id if speech.language == "id" else reason.text_en


class Office:
    """Reads what staff see."""

    def __init__(self, database: Database, in_force: RegistryInForce) -> None:
        self._database = database
        self._in_force = in_force

    async def read_bank(self, participant: str) -> tuple[list[dict[str, Any]], list[Cause]]:
        """Return a bank's open differences and its refusals by cause."""
        async with self._database.connection() as connection:
            listed = await differences.list_differences(
                connection, participant=participant, until=date.max, closed=False
            )
            return listed, await attention.read_causes(connection, participant)

    async def read_recommendation(self, application: str) -> Recommendation | None:
        """Return what stands for an application, or None where nothing was ever recommended."""
        async with self._database.connection() as connection:
            return await self.find_recommendation(connection, application)

    async def find_recommendation(self, connection: Connection, application: str) -> Recommendation | None:
        """Return the same, read in the caller's transaction."""
        standing = await attention.read_standing(connection, application)
        if standing is None:
            return None
        told = await attention.read_recommended(connection, application)
        leaf_index, since = told[-1] if told else (None, None)
        proof = None if leaf_index is None else await self._prove(connection, leaf_index)
        return Recommendation(application, json.loads(standing), since, leaf_index, proof)

    async def _prove(self, connection: Connection, leaf_index: int) -> str | None:
        shown = await read_published(connection, await self._in_force.refresh(connection))
        if shown is None or leaf_index >= shown.size:
            return None
        proof = (await Shelf().proofs(connection, shown, [leaf_index])).prove(leaf_index)
        return None if proof is None else proof.decode()

    async def read_condition(self) -> Condition:
        """Return how the exchange is."""
        async with self._database.connection() as connection:
            registry = await self._in_force.refresh(connection)
            owners = {source: party.id for party in registry.participants.values() for source in party.sources}
            unsent = await condition.read_unsent(connection)
            before, there, after = utc_now(), await condition.read_clock(connection), utc_now()
            return Condition(
                causes=await attention.read_causes(connection),
                deferred=await attention.count_deferred(connection),
                unsent=sum(unsent.values()),
                waiting_since=await attention.read_waiting_since(connection),
                log=await attention.read_log(connection),
                lost=list(await losses.list_losses(connection, acknowledged=False)),
                differences=await differences.count_open(connection),
                unsent_by_topic={topic: count for topic, count in sorted(unsent.items()) if count},
                connectors=await _read_connectors(connection, owners),
                database_clock=there - before - (after - before) / 2,
                broker_way=await condition.read_shortest_way(connection, after - RECENT),
            )


async def _read_connectors(connection: Connection, owners: Mapping[str, str]) -> list[Connector]:
    """Return how every source is but the hub's own, in order."""
    sources = [source for source, owner in sorted(owners.items(), key=lambda pair: pair[::-1]) if owner != "hub"]
    heard = await attention.read_last_heard(connection, sources)
    progress = await sequences.read_progress(connection, sources)
    ways = await attention.read_shortest_ways(connection, sources)
    return [
        Connector(owners[one], one, heard[one], progress[one][0], progress[one][1] - progress[one][0], ways[one])
        for one in sources
    ]


def create_router(database: Database, in_force: RegistryInForce, register: Register, pages: Pages) -> APIRouter:
    """Return the routes for staff."""
    router = APIRouter(include_in_schema=False)
    office = Office(database, in_force)
    require = pages.people.require

    @router.get("/bank")
    async def show_bank(request: Request) -> Response:
        person = await require(request, Role.BANK)
        listed, causes = await office.read_bank(person.participant or "")
        return pages.render(request, "bank.html", person, differences=listed, causes=causes, explain=explain)

    @router.get("/recommendation")
    async def ask_recommendation(request: Request) -> Response:
        person = await require(request, Role.IMMIGRATION, Role.OVERSIGHT)
        return pages.render(request, "recommendation.html", person, error=None, found=None, application="", reason="")

    @router.post("/recommendation")
    async def show_recommendation(request: Request) -> Response:
        person = await require(request, Role.IMMIGRATION, Role.OVERSIGHT)
        form = await pages.people.read_form(request, session=True)
        application = form.get("application", "").strip().upper()[:APPLICATION_CHARACTERS_MAX]
        reason, found, error, status = form.get("reason", ""), None, None, HTTPStatus.OK
        try:
            await register.note(person, "recommendation", application, reason, utc_now())
        except ReasonMissing:
            error, status = "reason_missing", HTTPStatus.BAD_REQUEST
        except SealMissing:
            error, status = "seal_missing", HTTPStatus.SERVICE_UNAVAILABLE
        else:
            found = await office.read_recommendation(application)
            error = "none" if found is None else None
        return pages.render(
            request,
            "recommendation.html",
            person,
            status,
            say_reason=say_reason,
            error=error,
            found=found,
            application=application,
            reason=reason,
        )

    @router.get("/operations")
    async def show_operations(request: Request) -> Response:
        person = await require(request, Role.OPERATOR)
        condition = await office.read_condition()
        headers = {"Refresh": str(OPERATIONS_REFRESH_S)}
        return pages.render(
            request, "operations.html", person, headers=headers, condition=condition, explain=explain
        )  # fmt: skip

    return router
