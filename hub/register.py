"""The register of foreign workers, shared by grants: who is told of an entry, what of it, and when it has left.

    dossiers --keep--> register --compare with what was told--> entered, left --outbox--> to.<grantee>

A grant is a subscription of the signed registry: its filter says of which regencies or immigration offices. What a
grantee was told is kept, so that an entry is told once for each change, and whoever was told of it hears that it left.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from hashlib import sha256
from typing import NamedTuple

from contracts.oversight.register import Registered
from contracts.registry import Participant, Registry, Subscription
from contracts.rules.clock import jakarta_day
from hub.step import REGISTER_ENTERED, REGISTER_LEFT, Event
from hub.store import register
from hub.store.cases import write_json
from hub.store.database import Connection
from hub.store.register import Told, View


class Grant(NamedTuple):
    """What of the register a participant is granted. `border`: also what Immigration says of the workers."""

    participant: str
    regencies: frozenset[str] | None
    kanims: frozenset[str] | None
    border: bool

    @property
    def terms(self) -> str:
        """The grant as text: when it changes, its grantee is told by the new one."""
        lists = [None if listed is None else sorted(listed) for listed in (self.regencies, self.kanims)]
        return write_json([*lists, self.border])

    @property
    def view(self) -> View:
        """The grant as the store reads it."""
        regencies, kanims = (None if one is None else sorted(one) for one in (self.regencies, self.kanims))
        return View(regencies, kanims)

    def reaches(self, entry: Registered) -> bool:
        """Whether the entry is in the grantee's part of the register."""
        return entry.is_open_to(self.regencies, self.kanims)


def _grant_of(party: Participant, subscription: Subscription) -> Grant:
    said = subscription.filter
    regencies = None if said.regency is None else frozenset(said.regency)
    kanims = None if said.kanim is None else frozenset(said.kanim)
    # A labour office oversees who works where; whether somebody is abroad is none of its business.
    return Grant(party.id, regencies, kanims, border=party.kind != "labour_office")


def list_grants(registry: Registry) -> list[Grant]:
    """Return what the registry grants of the register, to those who have a topic to be told on."""
    granted = registry.subscribers(REGISTER_ENTERED)
    return [_grant_of(*one) for one in granted if registry.partitions(f"to.{one[0].id}") is not None]


def find_grant(participant: Participant) -> Grant | None:
    """Return what of the register a participant is granted, or None."""
    found = (one for one in participant.subscribes if one.type == REGISTER_ENTERED)
    return next((_grant_of(participant, one) for one in found), None)


def compare(grant: Grant, entry: Registered, told: Told | None, day: date) -> tuple[Told, Event] | None:
    """Return what a grantee is to be told of an entry on a day, or None where it knows already."""
    revision = 1 if told is None else told.revision + 1
    known = None if told is None else told.digest
    data: dict[str, object] = {"participant": grant.participant, "revision": revision}
    if grant.reaches(entry) and entry.status(day) == "in_force":
        shared = entry.share(border=grant.border)
        digest = sha256(write_json(shared).encode()).digest()
        if digest == known:
            return None
        kind, data = REGISTER_ENTERED, data | shared
    elif known is None:
        return None
    else:
        digest, kind = None, REGISTER_LEFT
        reason = "ended" if grant.reaches(entry) else "moved"
        data |= {"application": entry.application, "worker": entry.worker, "reason": reason}
    name = sha256(f"{revision}|{grant.terms}".encode()).hexdigest()
    event = Event(kind, entry.application, entry.application, None, name, data, grant.participant)
    return Told(revision, digest), event


async def keep(tx: Connection, registry: Registry, entries: Iterable[Registered], now: datetime) -> list[Event]:
    """Save entries; return what grantees are to be told of them."""
    by_application = {entry.application: entry for entry in entries}
    if not by_application:
        return []
    await register.save(tx, by_application.values())
    return await _tell(tx, list_grants(registry), by_application, jakarta_day(now))


async def _tell(tx: Connection, grants: list[Grant], entries: Mapping[str, Registered], day: date) -> list[Event]:
    known = await register.read_told(tx, entries, [grant.participant for grant in grants]) if grants else {}
    news, told = [], []
    for grant in grants:
        for entry in entries.values():
            found = compare(grant, entry, known.get((grant.participant, entry.application)), day)
            if found is not None:
                told.append((grant.participant, entry.application, found[0]))
                news.append(found[1])
    if told:
        await register.save_told(tx, told)
    return news


async def catch_up(tx: Connection, registry: Registry, now: datetime, limit: int) -> tuple[list[Event], int]:
    """Tell whoever was newly granted a part of the register, or another part, the next stretch of it.

    Return what is to be told, and how many entries were looked at.
    """
    grants = {grant.participant: grant for grant in list_grants(registry)}
    states = await register.lock_grants(tx)
    for participant in states.keys() - grants.keys():
        await register.drop_grant(tx, participant)
    for participant, grant in sorted(grants.items()):
        state = states.get(participant)
        fresh = state is None or state.terms != grant.terms
        told_to = "" if fresh or state is None else state.told_to
        if told_to is None:
            continue
        entries = await register.lock_next(tx, told_to, limit)
        reached = entries[-1].application if len(entries) == limit else None
        await register.save_grant(tx, participant, grant.terms, reached)
        by_application = {entry.application: entry for entry in entries}
        return await _tell(tx, [grant], by_application, jakarta_day(now)), len(entries)
    return [], 0
