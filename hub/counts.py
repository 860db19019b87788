"""The daily count: at the end of each day in Jakarta each participant is told what the hub counts of it.

A count is about a stretch of the log, and the stretches of a participant's days tile it: what comes late belongs to the
day in which it came. The participant counts the same from its own books and says so; what differs is open until a later
word of the participant agrees.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from contracts.counts import Count, Disagreement, Tally, compare, read_count
from contracts.errors import Refusal
from contracts.log import entry
from contracts.registry import Participant
from contracts.rules.clock import end_of_day, jakarta_day
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.instant import read_instant
from hub import failpoint
from hub.desk import Desk, Judgement, Plan
from hub.seal import Letter
from hub.step import Event
from hub.store import counts
from hub.store.counts import Last, Stated
from hub.store.database import Connection

COUNTED: Final = "id.tka.hub.count.reported.v1"
STATEMENTS_PER_LOOK_MAX = 500
ONE_DAY = timedelta(days=1)


class Made(NamedTuple):
    """A count that was made now."""

    participant: str
    day: date
    accepted: int
    refused: int


class _Judged(NamedTuple):
    day: date
    source: str
    verdict: str
    detail: Mapping[str, Any]


class DayCounter:
    """Counts days, and compares what participants counted."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def catch_up(self, now: datetime, *, from_first_day: bool = True) -> list[Made]:
        """Count every day that is over and was not counted, for each participant; no day is left out.

        A participant's first count is of the last day that is over. With `from_first_day` that must not lie before
        the exchange's own first day.
        """
        judgement = await self._desk.judgement()
        over = jakarta_day(now) - ONE_DAY
        async with self._desk.database.snapshot() as connection:
            last = await counts.read_last(connection)
            first_day = await counts.read_first_day(connection)
        if from_first_day and (first_day is None or first_day > over):
            return []
        made = []
        for party in _list_senders(judgement):
            known = last.get(party.id, Last(over - ONE_DAY, 0, {}))
            while known.day < over:
                known, new = await self._count(judgement, party, known, now)
                made.extend(new)
                await asyncio.sleep(0)
        return made

    async def _count(
        self, judgement: Judgement, party: Participant, last: Last, now: datetime
    ) -> tuple[Last, list[Made]]:
        """Count the day after the last one; return how far it is counted now, and the count if it is new."""
        day = last.day + ONE_DAY
        async with self._desk.database.snapshot() as connection:
            document = await make_document(connection, party, day, last)
        plan = Plan()
        plan.actions.extend(leaves_of(document))
        plan.outline.letters.extend(_letters_of(judgement, document))
        async with self._desk.database.transaction() as tx:
            if not await counts.add(tx, document, now):
                # Another process has just told this day; its word counts.
                return (await counts.read_last(tx))[party.id], []
            taken = await self._desk.seal(tx, judgement, plan, now, {})
            failpoint.reach("counts.before_commit")
        failpoint.reach("counts.after_commit")
        await self._desk.wake(taken)
        sent = {one["partition"]: one["last"] for one in document["sent"]}
        accepted = sum(one["accepted"] for one in document["sources"])
        refused = sum(each["count"] for one in document["sources"] for each in one["refused"])
        return Last(day, document["log_size"], sent), [Made(party.id, day, accepted, refused)]

    async def judge(self, now: datetime) -> list[tuple[str, str]]:
        """Compare what participants stated since last time; return (participant, verdict) of each."""
        judged = []
        async with self._desk.database.transaction() as tx:
            stated = await counts.read_stated(tx, STATEMENTS_PER_LOOK_MAX)
            rows: list[tuple[Any, ...]] = []
            for one in stated:
                found = await _judge(tx, one, now)
                detail = json.dumps(found.detail)
                rows.append((one.log_index, one.participant, found.day, found.source, found.verdict, detail, now))
                judged.append((one.participant, found.verdict))
            if rows:
                await counts.add_statements(tx, rows)
                failpoint.reach("counts.before_judged_commit")
        return judged


def _list_senders(judgement: Judgement) -> list[Participant]:
    """Return the participants that say something and can be told what was counted of it."""
    parties = judgement.registry.participants.values()
    fits = (party for party in parties if party.publishes and party.sources and judgement.routes.of_receipt(party.id))
    return sorted(fits, key=lambda party: party.id)


async def make_document(connection: Connection, party: Participant, day: date, last: Last) -> dict[str, Any]:
    """Count a participant's day in one moment's picture of the database."""
    first_index, sources = last.log_size, sorted(party.sources)
    log_size = await counts.find_end(connection, first_index, end_of_day(day))
    tallies = await count_accepted(connection, first_index, log_size, sources)
    refused = await _count_refused(connection, party, first_index, log_size)
    sent = await counts.read_sent(connection, party.id)
    return {
        "participant": party.id,
        "day": day.isoformat(),
        "first_index": first_index,
        "log_size": log_size,
        "sources": [
            {"source": source, **tally.close(refused.get(source, {})).members()} for source, tally in tallies.items()
        ],
        "sent": [
            {"partition": partition, "first": last.sent.get(partition, 0) + 1, "last": end} for partition, end in sent
        ],
    }


async def count_accepted(
    connection: Connection, first_index: int, log_size: int, sources: Sequence[str]
) -> dict[str, Tally]:
    """Count what was accepted of each source in a stretch of the log; in a transaction."""
    tallies = {source: Tally() for source in sources}
    async for source, sequence, identity, digest in counts.read_accepted(connection, first_index, log_size, sources):
        tallies[source].add(sequence, identity, digest)
    return tallies


async def _count_refused(
    connection: Connection, party: Participant, first_index: int, log_size: int
) -> dict[str, Counter[str]]:
    """Count refusals by source and code, as they were receipted: each message once, and none that was accepted."""
    counted: dict[str, Counter[str]] = {}
    own = min(party.sources)
    async for index, code, source, value in counts.read_refused(connection, first_index, log_size, party.id):
        envelope = _read(value)
        if envelope is not None:
            accepted = await counts.find_accepted(connection, envelope.source, envelope.id, envelope.digest)
            if accepted is not None and accepted < index:
                continue
        # As its receipt: a source that is not the sender's own is not repeated to it as if it were.
        counted.setdefault(source if source in party.sources else own, Counter())[code] += 1
    return counted


def _read(value: bytes | None) -> Envelope | None:
    try:
        return None if value is None else read_envelope(value)
    except Refusal:
        return None


def leaves_of(document: Mapping[str, Any]) -> list[bytes]:
    """Return the entries that a count has in the log, one for each source."""
    return [
        entry.count(
            participant=document["participant"],
            day=document["day"],
            source=one["source"],
            first_index=document["first_index"],
            log_size=document["log_size"],
            accepted=one["accepted"],
            refused=sum(each["count"] for each in one["refused"]),
            sha256=one["sha256"],
        )
        for one in document["sources"]
    ]


def _letters_of(judgement: Judgement, document: dict[str, Any]) -> list[Letter]:
    participant = document["participant"]
    stream = judgement.routes.of_receipt(participant)
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    event = Event(COUNTED, participant.upper(), participant, None, digest, document)
    return [] if stream is None else [Letter(event, (stream,))]


async def _judge(connection: Connection, stated: Stated, now: datetime) -> _Judged:
    """Compare one statement with what the hub counted; one about nothing that it counted differs in everything."""
    if stated.value is None:
        return _Judged(jakarta_day(now), "", "unknown", {"why": "its content was erased"})
    envelope = read_envelope(stated.value)
    said = envelope.data
    day = date.fromisoformat(said["day"])
    document = await counts.read_document(connection, stated.participant, day)
    hub = None if document is None else _find(document["sources"], said["source"])
    own = said["source"] == envelope.source and said["participant"] == stated.participant
    if document is None or hub is None or not own:
        return _Judged(day, said["source"], "unknown", {"why": "the hub told no such count"})
    if (document["first_index"], document["log_size"]) != (said["first_index"], said["log_size"]):
        return _Judged(day, said["source"], "unknown", {"why": "it is about another stretch of the log"})
    rebuilt_at = said["rebuilt_at"]
    known = rebuilt_at is None or jakarta_day(read_instant(rebuilt_at)) < day
    disagreement: Disagreement = compare(hub, read_count(said["counted"]), refusals_known=known)
    sent = sum(max(0, one["last"] - one["first"] + 1) for one in document["sent"])
    detail = disagreement.members() | {"words": disagreement.tell(), "sent": sent, "received": said["received"]}
    agrees = not disagreement and sent == said["received"]
    return _Judged(day, said["source"], "agrees" if agrees else "differs", detail)


def _find(sources: Sequence[Mapping[str, Any]], source: str) -> Count | None:
    return next((read_count(one) for one in sources if one["source"] == source), None)
