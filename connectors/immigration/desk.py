"""Immigration's desk: takes what the feed brings, takes what the offices answer, and judges what visas rest on.

What the feed brings is kept and queued for the offices in one transaction; couriers hand it over. What an office
answers is spooled together with how far its answers were read.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter

from connectors.immigration.standing_file import Kept, News, Question, Reply
from connectors.immigration.standings import Standings
from connectors.immigration.translate import Untranslatable, answer_event, answer_key, query_answer_body
from connectors.immigration.validity import Beat, Decision, Validity, judge_decision, judge_validity, renew
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.delivery import Delivered
from connectors.link.fact import Aside, NewEvent
from connectors.link.spool import Spool
from connectors.link.trust import Trust
from contracts.events.hub import Heartbeat, RecommendationIssued
from contracts.events.ministry import QueryAnswered

HEARTBEATS_MISSED_MAX = 3
JUDGED_AT_ONCE_MAX = 500
JUDGE_AGAIN_S = 5.0
#: The answers by which a visa, or what follows from it, rests on a recommendation.
DECISIONS = frozenset(("visa_approved", "visa_refused", "stay_permit_issued"))

_QUERIED = "queried"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of some answers: how many were taken, and what was refused of them, by id and reason."""

    count: int
    refusals: tuple[tuple[str, str], ...] = ()


class Desk:
    """Works between the offices and one spool."""

    def __init__(
        self,
        spool: Spool,
        trust: Trust,
        standings: Standings,
        participant: str,
        clock: Clock,
        metrics: CollectorRegistry,
        freshness_limit_s: float | None = None,
    ) -> None:
        self._spool = spool
        self._trust = trust
        self._standings = standings
        self._topic = f"to.{participant}"
        self._clock = clock
        self._limit_s = freshness_limit_s
        self._alarms = Counter(
            "tkahub_connector_visa_alarms",
            "Visas decided on what did not stand, or on a stale picture, by what was found",
            ["found"],
            registry=metrics,
        )

    # --- from the feed -----------------------------------------------------------------------------------------------

    async def handle(self, delivered: Delivered) -> None:
        """Take one record of the feed; again and again is as good as once."""
        event, envelope = delivered.event, delivered.envelope
        if isinstance(event, RecommendationIssued):  # The withdrawal is one too, in another state.
            names = event.number, event.revision, event.state, event.application, event.kanim
            await self._standings.take(News(*names, envelope.time, envelope.id, json.dumps(envelope.data)))
        elif isinstance(event, QueryAnswered):
            body = json.dumps(query_answer_body(event))
            await self._standings.take(Reply(event.query_id, event.number, envelope.time, envelope.id, body))
        elif isinstance(event, Heartbeat) and event.topic == delivered.topic and event.partition == delivered.partition:
            beat = Beat(envelope.time, event.last_sequence, delivered.seq)
            held = self._standings.read.beat(event.topic, event.partition)
            kept, ended = renew(held, beat, self._clock(), self._limit())
            await self._standings.keep_beat(event.topic, event.partition, kept, ended)

    # --- from the offices --------------------------------------------------------------------------------------------

    async def take(
        self, office: str, answers: Sequence[Mapping[str, Any]], notes: Mapping[str, str] | None = None
    ) -> Taken:
        """Take an office's answers into the spool, with how far they were read (`notes`). Raises SpoolFull."""
        now = self._clock()
        events: list[NewEvent] = []
        aside: list[Aside] = []
        questions: list[Question] = []
        decisions: list[Kept] = []
        for answer in answers:
            try:
                event = answer_event(office, answer, now)
            except Untranslatable as fault:
                aside.append(Aside(answer_key(office, answer.get("id")), "untranslatable", str(fault)))
                continue
            events.append(event)
            number, revision = answer.get("number"), answer.get("revision")
            if answer["kind"] == _QUERIED and isinstance(number, str) and isinstance(answer.get("query_id"), str):
                questions.append(Question(answer["query_id"], number, event.time))
            if answer["kind"] in DECISIONS and isinstance(number, str) and type(revision) is int:
                decision = Decision(number, revision, event.time)
                decisions.append(Kept(event.native_key, office, answer["kind"], decision))
        # Before the spool: whoever is killed in between reads the answers again, and nothing was forgotten.
        await self._standings.note_answers(office, questions, decisions)
        failpoint.reach("answers.before_put")
        puts = await self._spool.put(events, aside=aside, notes=notes)
        failpoint.reach("answers.after_put")
        refusals = [(each.native_key, each.detail) for each in aside]
        refusals += [
            (event.native_key, put.detail or str(put.code))
            for event, put in zip(events, puts, strict=True)
            if put.outcome in ("unfit", "conflict")
        ]
        if refusals:
            _log.error("answers were set aside", office=office, count=len(refusals))
        return Taken(len(answers), tuple(refusals))

    # --- valid now? --------------------------------------------------------------------------------------------------

    def valid_now(self, number: str, revision: int | None) -> Validity:
        """Answer as of now, and say why."""
        newest = self._standings.read.newest(number)
        return judge_validity(newest, revision, self.beats(), self._clock(), self._limit())

    def beats(self) -> list[Beat | None]:
        """Return the last heartbeat of each stream of this participant: any of them could carry the withdrawal."""
        partitions = range(self._trust.registry.partitions(self._topic) or 0)
        return [self._standings.read.beat(self._topic, partition) for partition in partitions]

    def _limit(self) -> timedelta:
        return timedelta(seconds=self._limit_s or HEARTBEATS_MISSED_MAX * self._trust.registry.limits.heartbeat_s)

    # --- what visas rest on ------------------------------------------------------------------------------------------

    async def judge_for_ever(self) -> None:
        """Judge decisions as soon as that can be done, until cancelled."""
        while True:
            self._standings.judgeable.clear()
            if await self.judge() == 0:
                try:
                    async with asyncio.timeout(JUDGE_AGAIN_S):
                        await self._standings.judgeable.wait()
                except TimeoutError:
                    continue

    async def judge(self) -> int:
        """Judge what can be judged now; return how much that was."""
        read, now, limit = self._standings.read, self._clock(), self._limit()
        waiting = read.unjudged(JUDGED_AT_ONCE_MAX)
        if not waiting:
            return 0
        beats, stretches = self.beats(), read.stretches()
        judged = []
        for kept in waiting:
            standings = read.standings(kept.decision.number)
            found = judge_decision(kept.decision, standings, beats, stretches, now, limit)
            if found is not None:
                judged.append(replace(kept, verdict=found.status, why=found.why))
        await self._standings.keep_verdicts(judged)
        for kept in judged:
            if kept.verdict != "valid":
                self._raise_alarm(kept)
        return len(judged)

    def _raise_alarm(self, kept: Kept) -> None:
        self._alarms.labels(kept.verdict).inc()
        _log.error(
            "a visa was decided on a recommendation that did not stand, or was not known to",
            key=kept.key, office=kept.office, kind=kept.kind, found=kept.verdict,
            number=kept.decision.number, revision=kept.decision.revision,
        )  # fmt: skip
