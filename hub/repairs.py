"""The repair desk: what operators ask is judged here, in its order, and carried out.

    rehearse   a dry run of some refused messages; nothing is changed (hub.rehearsal)
    request    one operator asks for exactly what a dry run showed
    approve    a second person approves exactly that; from now on it runs
    stop       it never runs again; what is left needs a dry run of its own
    send_back  the sender is asked to correct a message: it signs a new one, which names this one as its cause
    look       the bytes of a message were looked at

Every action but the dry run is a leaf of the evidence log, in the transaction of its effect. A repair is carried out in
small batches, each one transaction with its leaves: a crash repeats none and loses none. Nobody's bytes are changed: a
message is taken as its sender signed it, or stays refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import asyncpg
import structlog

from contracts.admission import FROM_PREFIX, admit
from contracts.log import entry
from contracts.wire import base64url
from hub import failpoint
from hub.desk import Desk, Judgement, Plan
from hub.rehearsal import CHANGING, FAILED, Outcome, foresee, read_outcomes, salt, write_document
from hub.seal import Letter
from hub.step import Event
from hub.store import quarantine, repairs
from hub.store.database import BROKEN, TRANSIENT, Connection
from hub.store.log import RegistryChanged
from hub.store.registry import Stand
from hub.store.repairs import Action, Item, Parked, Repair

CORRECTION: Final = "id.tka.hub.correction.requested.v1"
MESSAGES_MAX = 1_000
SENT_BACK_MAX = 250
BATCH_MAX = 50
# Every repair together, so that a mistake can be stopped before it is large.
RESENT_PER_MINUTE_MAX = 600
MINUTE = timedelta(minutes=1)
# What was shown a day ago is not what would be done now.
REHEARSAL_LIFETIME = timedelta(hours=24)
CORRECTIONS_PER_LOOK_MAX = 500
DONE: Final = "done"
REHEARSED, REQUESTED, RUNNING, STOPPED, FINISHED = "rehearsed", "requested", "running", "stopped", "finished"
CHANGED: Final = "changed"

#: Why an action was not carried out, by the word that is kept of it.
REFUSALS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not_found": "There is nothing of this name in quarantine, or it was dealt with already.",
        "not_operator": "Only an operator's account that is in use may ask this.",
        "state_wrong": "It is not at the point at which this can be asked: look at it again.",
        "digest_differs": "That is not the digest of what this dry run showed.",
        "expired": "The dry run is older than a day: make a new one.",
        "nothing_changes": "Nothing would change: the cause is not mended yet.",
        "registry_changed": "The registry has changed since the dry run: make a new one.",
        "requester_gone": "Who asked for it is no operator any more: make a new dry run.",
        "same_person": "The person who asked for it cannot approve it.",
        "account_too_new": "An account that was made after the dry run cannot approve it.",
        "contract_missing": "The registry does not name the event by which a sender is asked yet.",
        "sender_unknown": "Nobody knows for certain whose message it is, so nobody can be asked.",
        "failed": "The hub failed at it; its log says where.",
    }
)

log = structlog.get_logger(__name__)


class Refusal(Exception):
    """An action is not carried out; `word` says why, and nothing has changed."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Carried(NamedTuple):
    """What one batch came to: the repair, how many messages were dealt with, and whether it is through."""

    repair_id: int
    messages: int
    finished: bool


@dataclass(slots=True)
class _Case:
    """An action under judgement: its transaction, what it is judged by, and what it writes."""

    tx: Connection
    judgement: Judgement
    action: Action
    now: datetime
    plan: Plan

    def note(self, verb: str, subject: str) -> None:
        """Write the action down for the log."""
        reason = self.action.reason
        self.plan.actions.append(
            entry.operator_action(action=verb, subject=subject, actor=self.action.actor, reason=reason, at=self.now)
        )


def name_repair(repair: Repair) -> str:
    """Return how the log names a repair: with the digest of what its dry run showed."""
    return f"repair/{repair.id}/{repair.digest}"


def check_request(repair: Repair, action: Action, now: datetime) -> None:
    """Raise Refusal unless exactly what a dry run showed may be asked for."""
    _check_shown(repair, action, REHEARSED, now)
    if not repair.messages:
        raise Refusal("nothing_changes")


def check_approval(
    repair: Repair, action: Action, operators: Mapping[str, repairs.Operator], stand: Stand, now: datetime
) -> None:
    """Raise Refusal unless a second person approves exactly what was shown and asked for, as long as it still holds."""
    _check_shown(repair, action, REQUESTED, now)
    if (repair.registry_version, repair.suspensions) != stand:
        raise Refusal("registry_changed")
    first, second = operators.get(repair.requested_by or ""), operators[action.actor]
    if first is None:
        raise Refusal("requester_gone")
    if second.name == first.name or second.person == first.person:
        raise Refusal("same_person")
    # Else whoever may make accounts makes the second person when one is needed.
    if second.created_at >= repair.rehearsed_at:
        raise Refusal("account_too_new")


def _check_shown(repair: Repair, action: Action, state: str, now: datetime) -> None:
    if action.digest != repair.digest:
        raise Refusal("digest_differs")
    if repair.state != state:
        raise Refusal("state_wrong")
    if now - repair.rehearsed_at > REHEARSAL_LIFETIME:
        raise Refusal("expired")


class Repairs:
    """Judges what operators ask, and carries it out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._verbs: dict[str, Callable[[_Case], Awaitable[None]]] = {
            "look": self._look,
            "rehearse": self._rehearse,
            "request": self._request,
            "approve": self._approve,
            "stop": self._stop,
            "send_back": self._send_back,
        }

    async def settle(self, now: datetime) -> Action | None:
        """Judge the oldest action that waits; return it, or None if none does. Raises RegistryChanged."""
        judgement = await self._desk.judgement()
        try:
            return await self._settle(judgement, now, None)
        except Refusal as refusal:
            return await self._settle(judgement, now, refusal.word)
        except (RegistryChanged, *BROKEN, *TRANSIENT):
            raise
        except Exception as error:  # noqa: BLE001  # A bug in one action must not hold up those behind it.
            log.error("repairs.defect", kind=type(error).__name__)
            return await self._settle(judgement, now, FAILED)

    async def _settle(self, judgement: Judgement, now: datetime, refused: str | None) -> Action | None:
        async with self._desk.database.transaction() as tx:
            action = await repairs.claim_action(tx)
            if action is None:
                return None
            case = _Case(tx, judgement, action, now, Plan())
            if refused is not None:
                await repairs.settle(tx, action.id, now, refused, None)
                return action._replace(outcome=refused, settled_at=now)
            if action.actor not in await repairs.read_operators(tx, action.actor):
                raise Refusal("not_operator")
            await self._verbs[action.verb](case)
            index = None
            taken = None
            if case.plan.actions:
                taken = await self._desk.seal(tx, judgement, case.plan, now, {})
                index = taken.base
            await repairs.settle(tx, action.id, now, DONE, index)
            failpoint.reach("repairs.before_settled")
        failpoint.reach("repairs.after_settled")
        if taken is not None:
            await self._desk.wake(taken)
        return action._replace(outcome=DONE, settled_at=now, log_index=index)

    async def _look(self, case: _Case) -> None:
        if not await quarantine.is_parked(case.tx, case.action.parked_id or 0):
            raise Refusal("not_found")
        case.note("look", f"quarantine/{case.action.parked_id}")

    async def _rehearse(self, case: _Case) -> None:
        action, stand = case.action, case.judgement.stand
        parked, total = await repairs.select(case.tx, action, min(action.messages_max or MESSAGES_MAX, MESSAGES_MAX))
        if not parked:
            raise Refusal("not_found")
        foreseen = await foresee(self._desk, case.tx, case.judgement, parked, case.now)
        document, digest = write_document(action, case.judgement, parked, foreseen, total, case.now)
        items = [
            (one.id, salt(one), foreseen.outcomes[one.record].word)
            for one in parked
            if foreseen.outcomes[one.record].word in CHANGING
        ]
        nobody = (None,) * 7
        repair = Repair(action.id, REHEARSED, action.actor, case.now, *stand, digest, len(items), *nobody)
        await repairs.add(case.tx, repair, document, items)

    async def _find(self, case: _Case) -> Repair:
        repair = await repairs.lock(case.tx, case.action.repair_id or 0)
        if repair is None:
            raise Refusal("not_found")
        return repair

    async def _request(self, case: _Case) -> None:
        repair = await self._find(case)
        check_request(repair, case.action, case.now)
        await repairs.request(case.tx, repair.id, case.action.actor, case.now, case.action.reason)
        case.note("repair_requested", name_repair(repair))

    async def _approve(self, case: _Case) -> None:
        repair = await self._find(case)
        operators = await repairs.read_operators(case.tx, case.action.actor, repair.requested_by)
        check_approval(repair, case.action, operators, case.judgement.stand, case.now)
        await repairs.approve(case.tx, repair.id, case.action.actor, case.now)
        case.note("repair_approved", name_repair(repair))

    async def _stop(self, case: _Case) -> None:
        repair = await self._find(case)
        if repair.state not in (REHEARSED, REQUESTED, RUNNING):
            raise Refusal("state_wrong")
        await repairs.end(case.tx, repair.id, STOPPED, case.action.actor, case.now)
        case.note("repair_stopped", name_repair(repair))

    async def _send_back(self, case: _Case) -> None:
        if CORRECTION not in case.judgement.registry.contracts:
            raise Refusal("contract_missing")
        found = await repairs.select_unasked(case.tx, case.action, SENT_BACK_MAX)
        asked = []
        for one in found:
            letter = ask_correction(case.judgement, one, case.action.reason)
            if letter is not None:
                asked.append(one.id)
                case.plan.outline.letters.append(letter)
                case.note("send_back", f"quarantine/{one.id}")
        if not asked:
            raise Refusal("sender_unknown" if found else "not_found")
        await repairs.send_back(case.tx, asked, case.action.id, case.now)

    async def carry_on(self, now: datetime) -> Carried | None:
        """Take up the next messages of the repair that was approved first; None if none runs or the minute is full.

        Raises RegistryChanged if the registry changed meanwhile: the next call judges by the new one.
        """
        return await self._isolate(now, BATCH_MAX)

    async def _isolate(self, now: datetime, limit: int) -> Carried | None:
        """Take up less and less, until a bug has its one message alone, which is left as it is."""
        try:
            return await self._carry_on(now, limit, bug=False)
        except asyncpg.UniqueViolationError:
            # The intake took the same message at this moment: the next look finds it there.
            return None
        except (RegistryChanged, *BROKEN, *TRANSIENT):
            raise
        except Exception as error:  # noqa: BLE001  # Whatever it is, it must not hold up the other messages.
            log.error("repairs.defect", kind=type(error).__name__)
            return await (self._isolate(now, limit // 2) if limit > 1 else self._carry_on(now, 1, bug=True))

    async def _carry_on(self, now: datetime, limit: int, *, bug: bool) -> Carried | None:
        judgement = await self._desk.judgement()
        async with self._desk.database.transaction() as tx:
            repair = await repairs.lock_running(tx)
            if repair is None:
                return None
            room = RESENT_PER_MINUTE_MAX - await repairs.count_done_since(tx, now - MINUTE)
            items = _of_one_topic(await repairs.claim_items(tx, repair.id, max(0, min(limit, room))))
            plan, outcomes = Plan(), dict.fromkeys((item.parked.id for item in items), FAILED)
            if not bug:
                plan, outcomes = await self._take_up(tx, judgement, items, now)
            plan.actions.extend(_leaves_of(repair, outcomes, now))
            await repairs.note_outcomes(tx, repair.id, list(outcomes.items()), now)
            resent = [parked_id for parked_id, word in outcomes.items() if word in CHANGING]
            await repairs.resolve(tx, resent, now, "resent")
            finished = not await repairs.has_waiting(tx, repair.id)
            if finished:
                await repairs.end(tx, repair.id, FINISHED, repair.approved_by or "", now)
                plan.actions.append(_leaf(repair, "repair_finished", name_repair(repair), now))
            if not plan.actions:
                return None if not items else Carried(repair.id, len(items), finished)
            topic_ids = {item.parked.record.topic: item.parked.topic_id for item in items}
            taken = await self._desk.seal(tx, judgement, plan, now, topic_ids)
            failpoint.reach("repairs.before_batch")
        failpoint.reach("repairs.after_batch")
        await self._desk.wake(taken)
        return Carried(repair.id, len(items), finished)

    async def _take_up(
        self, tx: Connection, judgement: Judgement, items: Sequence[Item], now: datetime
    ) -> tuple[Plan, dict[int, str]]:
        """Judge messages again and plan what was approved of them; what would come out otherwise is left as it is."""
        unchanged = [item for item in items if not item.parked.resolved and salt(item.parked) == item.digest]
        outcomes = dict.fromkeys((item.parked.id for item in items), CHANGED)
        # What is left out may be what another one rested on, so that the others are judged again without it.
        for _ in range(len(unchanged) + 1):
            verdicts = [admit(item.parked.record, judgement.registry, judgement.roots) for item in unchanged]
            plan, unfit = await self._desk.weigh(tx, judgement, verdicts, now, thorough=True)
            found = read_outcomes(plan, unfit)
            fitting = [item for item in unchanged if _is_as_shown(item, found)]
            if len(fitting) == len(unchanged):
                break
            unchanged = fitting
        plan.deferred = []
        self._desk.address_plan(judgement, plan, [])
        return plan, outcomes | {item.parked.id: found[item.parked.record].word for item in unchanged}

    async def note_corrections(self, now: datetime) -> int:
        """Resolve refused messages that their senders have corrected; return how many."""
        corrected, looked = 0, CORRECTIONS_PER_LOOK_MAX
        while looked == CORRECTIONS_PER_LOOK_MAX:
            async with self._desk.database.transaction() as tx:
                looked, found = await repairs.resolve_corrected(tx, now, CORRECTIONS_PER_LOOK_MAX)
            corrected += found
            await asyncio.sleep(0)
        return corrected


def ask_correction(judgement: Judgement, parked: Parked, note: str) -> Letter | None:
    """Return the letter that asks the sender to correct a message; None if it is not known who that is.

    Whoever publishes another's message again must not make the hub write to its author.
    """
    registry, sender = judgement.registry, parked.participant
    party = None if sender is None else registry.participant(sender)
    if party is None or parked.record.topic != FROM_PREFIX + party.id or parked.source not in party.sources:
        return None
    stream = judgement.routes.of_receipt(party.id)
    if stream is None:
        return None
    data = {
        "participant": party.id,
        "source": parked.source,
        "id": parked.event_id,
        "sha256": base64url.encode(sha256(parked.record.value or b"").digest()),
        "code": parked.code,
        "log_index": parked.log_index,
        "note": note,
    }
    event = Event(CORRECTION, party.id.upper(), party.id, parked.event_id, f"{CORRECTION}/{parked.id}", data)
    return Letter(event, (stream,))


def _is_as_shown(item: Item, found: Mapping[Any, Outcome]) -> bool:
    return found[item.parked.record].word == item.expected


def _of_one_topic(items: Sequence[Item]) -> list[Item]:
    """Return the first items as long as none is of a topic that was made anew under the same name."""
    ids: dict[str, str] = {}
    fitting = []
    for item in items:
        if ids.setdefault(item.parked.record.topic, item.parked.topic_id) != item.parked.topic_id:
            break
        fitting.append(item)
    return fitting


def _leaf(repair: Repair, action: str, subject: str, now: datetime) -> bytes:
    actor = f"{repair.requested_by} {repair.approved_by}"
    return entry.operator_action(action=action, subject=subject, actor=actor, reason=repair.reason or "", at=now)


def _leaves_of(repair: Repair, outcomes: Mapping[int, str], now: datetime) -> list[bytes]:
    return [
        _leaf(repair, "resend", f"{name_repair(repair)}/quarantine/{parked_id}", now)
        for parked_id, word in outcomes.items()
        if word in CHANGING
    ]
