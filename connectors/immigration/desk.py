"""Immigration's desk: takes what the feed brings to the visa system, fetches its answers, and says what is valid now.

Everything it must remember are notes of the spool: the newest state of each recommendation, the last heartbeat of each
stream, and how far the answers were read, which is written together with the messages made from them.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter

from connectors.immigration.client import CONFLICT, VisaSystem, VisaSystemFault, VisaSystemRefused
from connectors.immigration.translate import Untranslatable, answer_event, answer_key, query_answer_body
from connectors.immigration.validity import Beat, Standing, judge_validity
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.delivery import Delivered
from connectors.link.fact import Aside, NewEvent
from connectors.link.fault import SpoolFull
from connectors.link.spool import Spool
from connectors.link.trust import Trust
from contracts.events.hub import Heartbeat, RecommendationIssued
from contracts.events.ministry import QueryAnswered
from contracts.wire.instant import write_instant

HEARTBEATS_MISSED_MAX = 3
AWAY_PAUSE_S = 1.0
FULL_PAUSE_S = 15.0

_STANDING_NOTES = "recommendation/"
_BEAT_NOTES = "heartbeat/"
_CURSOR_NOTE = "answers/read"

_log = structlog.get_logger()


class Desk:
    """Works between one visa system and one spool."""

    def __init__(
        self,
        spool: Spool,
        trust: Trust,
        visa_system: VisaSystem,
        participant: str,
        clock: Clock,
        metrics: CollectorRegistry,
    ) -> None:
        self._spool = spool
        self._trust = trust
        self._visa_system = visa_system
        self._topic = f"to.{participant}"
        self._clock = clock
        self._refused = Counter(
            "tkahub_connector_visa_system_refused", "Deliveries that the visa system refused", registry=metrics
        )

    # --- from the feed to the visa system ----------------------------------------------------------------------------

    async def handle(self, delivered: Delivered) -> None:
        """Take one record of the feed to where it belongs; again and again is as good as once."""
        event = delivered.event
        if isinstance(event, RecommendationIssued):  # The withdrawal is one too, in another state.
            await self._note_standing(Standing(event.revision, event.state, event.application), event.number)
            await self._deliver(delivered, event)
        elif isinstance(event, QueryAnswered):
            await self._forward_answer(delivered, event)
        elif isinstance(event, Heartbeat) and event.topic == delivered.topic and event.partition == delivered.partition:
            beat = Beat(delivered.envelope.time, event.last_sequence, delivered.seq)
            await self._spool.put(notes={_beat_note(event.topic, event.partition): beat.write()})

    async def _note_standing(self, standing: Standing, number: str) -> None:
        """Keep the state before it is delivered: a withdrawal counts from when it is known here."""
        name = _STANDING_NOTES + number
        held = await self._spool.note(name)
        if standing.follows(None if held is None else Standing.read(held)):
            await self._spool.put(notes={name: standing.write()})

    async def _deliver(self, delivered: Delivered, event: RecommendationIssued) -> None:
        failpoint.reach("visa_system.before_delivery")
        try:
            await self._visa_system.deliver(
                event.number, event.revision, event.state, delivered.envelope.data, delivered.envelope.id
            )
        except VisaSystemRefused as refusal:
            await self._set_aside(f"delivery/{event.number}/{event.revision}/{event.state}", refusal)
        failpoint.reach("visa_system.after_delivery")

    async def _forward_answer(self, delivered: Delivered, event: QueryAnswered) -> None:
        failpoint.reach("visa_system.before_delivery")
        try:
            await self._visa_system.answer_query(event.query_id, query_answer_body(event), delivered.envelope.id)
        except VisaSystemRefused as refusal:
            await self._set_aside(f"query-answer/{event.query_id}", refusal)
        failpoint.reach("visa_system.after_delivery")

    async def _set_aside(self, name: str, refusal: VisaSystemRefused) -> None:
        """Keep what the visa system will never take, and go on: nothing may wait behind it for ever."""
        code = "visa_system_conflict" if refusal.status == CONFLICT else "visa_system_refused"
        await self._spool.put(aside=[Aside(name, code, str(refusal))])
        self._refused.inc()
        _log.error("the visa system refused a delivery", delivery=name, status=refusal.status)

    # --- from the visa system to the exchange ------------------------------------------------------------------------

    async def follow_answers(self, poll_s: float) -> None:
        """Publish what the visa system answers, until cancelled."""
        while True:
            try:
                if not await self.take_answers():
                    await asyncio.sleep(poll_s)
            except VisaSystemFault as fault:
                _log.warning("the answers wait", why=str(fault))
                await asyncio.sleep(AWAY_PAUSE_S)
            except SpoolFull as fault:
                _log.warning("the answers wait", why=str(fault))
                await asyncio.sleep(FULL_PAUSE_S)

    async def take_answers(self) -> int:
        """Take one page of answers into the spool, together with how far they were read; return how many."""
        answers = await self._visa_system.answers(int(await self._spool.note(_CURSOR_NOTE) or 0))
        failpoint.reach("answers.after_read")
        if not answers:
            return 0
        now = self._clock()
        facts: list[NewEvent] = []
        aside: list[Aside] = []
        for answer in answers:
            try:
                facts.append(answer_event(answer, now))
            except Untranslatable as fault:
                aside.append(Aside(answer_key(answer["id"]), "untranslatable", str(fault)))
        puts = await self._spool.put(facts, aside=aside, notes={_CURSOR_NOTE: str(answers[-1]["id"])})
        unfit = len(aside) + sum(put.outcome in ("unfit", "conflict") for put in puts)
        if unfit:
            _log.error("answers were set aside", count=unfit)
        return len(answers)

    # --- valid now? --------------------------------------------------------------------------------------------------

    def routes(self, limit_s: float | None) -> APIRouter:
        """Return the question `GET /valid?number=&revision=`; `limit_s` as in the settings."""
        router = APIRouter()

        @router.get("/valid")
        async def valid(number: str, revision: int | None = None) -> Mapping[str, Any]:
            return await self.valid_now(number, revision, limit_s)

        return router

    async def valid_now(self, number: str, revision: int | None, limit_s: float | None) -> Mapping[str, Any]:
        """Answer as of now, and say why."""
        held = await self._spool.note(_STANDING_NOTES + number)
        standing = None if held is None else Standing.read(held)
        now = self._clock()
        verdict = judge_validity(standing, revision, await self._beats(), now, self._limit(limit_s))
        return {"number": number, "revision": revision, **_told(verdict.status, verdict.why, now)}

    async def _beats(self) -> list[Beat | None]:
        """Return the last heartbeat of each stream of this participant: any of them could carry the withdrawal."""
        beats: list[Beat | None] = []
        for partition in range(self._trust.registry.partitions(self._topic) or 0):
            note = await self._spool.note(_beat_note(self._topic, partition))
            beats.append(None if note is None else Beat.read(note))
        return beats

    def _limit(self, limit_s: float | None) -> timedelta:
        return timedelta(seconds=limit_s or HEARTBEATS_MISSED_MAX * self._trust.registry.limits.heartbeat_s)


def _beat_note(topic: str, partition: int) -> str:
    return f"{_BEAT_NOTES}{topic}/{partition}"


def _told(status: str, why: str, now: datetime) -> dict[str, str]:
    return {"status": status, "why": why, "as_of": write_instant(now)}
