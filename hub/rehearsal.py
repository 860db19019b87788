"""A dry run: what would become of refused messages if they were judged again now. Everything is taken back at the end.

It runs the desk's own judgement on one moment's rows, so that what it shows is what would be done, and names what it
showed by the digest of a document: who asks for it, and who approves it, name that digest.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from contracts.admission import admit
from contracts.log import entry
from contracts.wire import base64url
from contracts.wire.instant import write_instant
from contracts.wire.record import Record
from hub.desk import Desk, Judgement, Plan
from hub.store.database import BROKEN, TRANSIENT, Connection
from hub.store.repairs import Action, Parked

ACCEPTED, DUPLICATE, REFUSED, DEFERRED, FAILED = "accepted", "duplicate", "refused", "deferred", "failed"
CHANGING = frozenset((ACCEPTED, DUPLICATE))
FORWARDED = "forwarded"


class Outcome(NamedTuple):
    """What becomes of a message that is judged again: a word, the code if it is not taken, its type if it is."""

    word: str
    code: str | None = None
    type: str | None = None


@dataclass(slots=True)
class Foreseen:
    """What a dry run found: the outcome by record, and how many messages of each type would go out."""

    outcomes: dict[Record, Outcome] = field(default_factory=dict)
    sends: Counter[str] = field(default_factory=Counter)


class _TakenBackError(Exception):
    """Ends a dry run, and with it everything that it did."""


def read_outcomes(plan: Plan, unfit: Sequence[Any]) -> dict[Record, Outcome]:
    """Return what a plan makes of each of its records."""
    outcomes = {one.record: Outcome(ACCEPTED, None, one.envelope.type) for one in plan.fresh}
    outcomes |= {one.record: Outcome(DUPLICATE, None, one.envelope.type) for one, _ in plan.repeats}
    outcomes |= {one.record: Outcome(REFUSED, str(one.code)) for one in unfit}
    return outcomes | {one.record: Outcome(DEFERRED, str(one.code)) for one in plan.deferred}


def salt(parked: Parked) -> bytes:
    """Return the digest of a refused message under its salt, as its leaf has it; of an erased one nothing."""
    return b"" if parked.salt is None else entry.salted_digest(parked.salt, parked.record.value or b"")


async def foresee(
    desk: Desk, tx: Connection, judgement: Judgement, parked: Sequence[Parked], now: datetime
) -> Foreseen:  # fmt: skip
    """Judge messages again inside a transaction, and take everything back.

    A bug that shows on one of them is told of it alone: the others are judged in halves without it.
    """
    foreseen = Foreseen()
    try:
        async with tx.transaction():
            verdicts = [admit(one.record, judgement.registry, judgement.roots) for one in parked]
            plan, unfit = await desk.weigh(tx, judgement, verdicts, now, thorough=True)
            desk.address_plan(judgement, plan, [])
            foreseen.outcomes = read_outcomes(plan, unfit)
            foreseen.sends.update(letter.event.type for letter in plan.outline.letters for _ in letter.streams)
            if plan.outline.forwards:
                foreseen.sends[FORWARDED] += len(plan.outline.forwards)
            raise _TakenBackError
    except _TakenBackError:
        return foreseen
    except (*BROKEN, *TRANSIENT):
        raise
    except Exception:  # noqa: BLE001  # Whatever else a message does, it must not keep the others from being judged.
        if len(parked) == 1:
            return Foreseen({parked[0].record: Outcome(FAILED)})
    middle = len(parked) // 2
    for half in (parked[:middle], parked[middle:]):
        part = await foresee(desk, tx, judgement, half, now)
        foreseen.outcomes |= part.outcomes
        foreseen.sends += part.sends
    return foreseen


def write_document(
    action: Action, judgement: Judgement, parked: Sequence[Parked], foreseen: Foreseen, total: int, now: datetime
) -> tuple[str, str]:
    """Return what a dry run shows, as JSON, and its SHA-256 in hex. It holds nothing of what the messages say."""
    document = {
        "dry_run": action.id,
        "by": action.actor,
        "at": write_instant(now),
        "registry_version": judgement.stand.version,
        "suspensions": judgement.stand.suspensions,
        "waiting": total,
        "messages": [_describe(one, foreseen.outcomes[one.record]) for one in parked],
        "sends": dict(sorted(foreseen.sends.items())),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return text, hashlib.sha256(text.encode()).hexdigest()


def _describe(parked: Parked, outcome: Outcome) -> Mapping[str, Any]:
    return {
        "id": parked.id,
        "log_index": parked.log_index,
        "digest": base64url.encode(salt(parked)),
        "participant": parked.participant,
        "event_id": parked.event_id,
        "type": outcome.type,
        "today": parked.code,
        "then": outcome.word,
        "code": outcome.code,
    }
