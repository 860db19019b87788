"""What fsck demands of what overseers compute from: dossiers are the fold of the log, the register that of dossiers.

It follows the log as the overseer does, from its first entry to where the overseer has come, and compares.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import asyncpg
from jiter import from_json

from contracts.errors import Refusal
from contracts.events import read_event
from contracts.oversight.dossier import Dossier, fact_of_recommendation
from contracts.oversight.register import Registered, enter
from contracts.rules.case import EXPLANATIONS, Fact, facts_of
from contracts.wire.envelope import read_envelope
from hub.overseer import HUB
from hub.provenance import Finding
from hub.store import inspection
from hub.store.database import Connection

# So many messages are folded in memory at once; more are done in several passes over the log.
MESSAGES_PER_PASS_MAX = 200_000


async def check_dossiers(connection: Connection, claims: Mapping[str, str]) -> list[Finding]:
    """Return every dossier and entry of the register that is not what the log makes; `claims` are codes' cases."""
    position = await inspection.read_followed(connection)
    passes = 1 + position // MESSAGES_PER_PASS_MAX
    findings = []
    for number in range(passes):
        findings += await _Refold(claims, position, passes, number).run(connection)
    return findings


class _Refold:
    """One pass: the dossiers of the applications that fall to `number` of `passes`.

    What waited under a billing code counts as its case's from the moment the code is claimed, which may be before the
    overseer has come so far: a dossier is compared together with those of its codes.
    """

    def __init__(self, claims: Mapping[str, str], position: int, passes: int, number: int) -> None:
        self.findings: list[Finding] = []
        self._claims = claims
        self._position = position
        self._passes = passes
        self._number = number
        self._folded: defaultdict[str, set[str]] = defaultdict(set)
        # Of an original that was erased a dossier may hold more than is left of it elsewhere.
        self._erased: set[int] = set()

    async def run(self, connection: Connection) -> list[Finding]:
        """Fold the log up to the overseer's place, and compare with what is kept."""
        async for row in inspection.stream(connection, inspection.READ_FOLLOWED, self._position):
            if self._is_ours(row["subject"]):
                self._take(row)
        async for row in inspection.stream(connection, inspection.READ_FOLLOWED_RECOMMENDATIONS, self._position):
            if self._is_ours(row["key"]):
                self._take_recommendation(row)
        await self._compare(connection)
        return self.findings

    def _owner_of(self, subject: str) -> str:
        return self._claims.get(subject, subject)

    def _is_ours(self, subject: str) -> bool:
        return self._passes == 1 or zlib.crc32(self._owner_of(subject).encode()) % self._passes == self._number

    def _take(self, row: asyncpg.Record) -> None:
        if row["type"] in EXPLANATIONS:
            return
        if row["value"] is None:
            self._erased.add(row["log_index"])
            return
        envelope = read_envelope(row["value"])
        try:
            event = read_event(envelope.type, envelope.data, envelope.subject)
        except Refusal:
            # The overseer does not know this contract either.
            return
        fact = facts_of(envelope, event, row["participant"], row["log_index"])
        self._folded[self._owner_of(row["subject"])].add(_spell(fact))

    def _take_recommendation(self, row: asyncpg.Record) -> None:
        if row["value"] is None:
            self._erased.add(row["leaf_index"])
            return
        fact = fact_of_recommendation(read_envelope(row["value"]), HUB, row["leaf_index"])
        self._folded[self._owner_of(row["key"])].add(_spell(fact))

    async def _compare(self, connection: Connection) -> None:
        kept: defaultdict[str, set[str]] = defaultdict(set)
        entered: dict[str, Registered | None] = {}
        async for row in inspection.stream(connection, inspection.READ_DOSSIERS):
            if not self._is_ours(row["subject"]):
                continue
            try:
                facts = [Fact.from_json(one) for one in from_json(row["facts"].encode())]
            except (ValueError, TypeError):
                self._find("unreadable", f"dossier/{row['subject']}", "what is stored cannot be read")
                continue
            kept[self._owner_of(row["subject"])] |= {
                _spell(fact) for fact in facts if fact.log_index not in self._erased
            }
            # One that waits to be looked at is in the register as it was before.
            if row["listed"]:
                entered[row["subject"]] = enter(Dossier(row["subject"], facts))
        for subject in sorted(self._folded.keys() | kept.keys()):
            found, expected = kept[subject], self._folded[subject]
            if found != expected:
                detail = f"{len(found - expected)} facts too many, {len(expected - found)} missing"
                self._find("dossier_differs", f"dossier/{subject}", detail)
        await self._compare_register(connection, entered)

    async def _compare_register(self, connection: Connection, entered: dict[str, Registered | None]) -> None:
        async for row in inspection.stream(connection, inspection.READ_REGISTER):
            application = row["application"]
            if not self._is_ours(application):
                continue
            subject = f"register/{application}"
            try:
                entry = Registered.from_json(from_json(row["entry"].encode()))
            except (ValueError, TypeError, KeyError):
                self._find("unreadable", subject, "what is stored cannot be read")
                continue
            columns = (entry.unit, entry.kanim, list(entry.regencies), entry.from_, entry.last_day, entry.differs_from)
            names = ("unit", "kanim", "regencies", "begins_on", "last_day", "differs_from")
            if columns != tuple(row[name] for name in names):
                self._find("column_wrong", subject, "its columns do not say what the entry says")
            if application in entered and entered.pop(application) != entry:
                self._find("register_differs", subject, "the dossier comes to something else")
        for application in _missing(entered.values()):
            self._find("not_stored", f"register/{application}", "the dossier makes it, the register does not hold it")

    def _find(self, kind: str, subject: str, detail: str) -> None:
        self.findings.append(Finding(kind, subject, detail))


def _spell(fact: Fact) -> str:
    return json.dumps(fact.to_json(), sort_keys=True)


def _missing(entries: Iterable[Registered | None]) -> list[str]:
    return sorted(entry.application for entry in entries if entry is not None)
