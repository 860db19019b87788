"""The monitor: follows the whole log, computes its tree again, and looks at every entry.

    checkpoint, bundles --follow--> Edge == root, entries --Reader--> keys, registry, rule sets, recommendations

The root is computed from the entries themselves on top of the edge kept from last time, so a log that changed anything
it said before cannot give the root that it signs.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

from connectors.oversight import operator_actions
from connectors.oversight.alarm import Alarm, Cause
from connectors.oversight.log_source import LogSource
from connectors.oversight.monitor_state import Followed, MonitorState
from contracts.admission import FROM_PREFIX
from contracts.audit.entries import EntryMalformed, read_entry
from contracts.audit.finding import Doubt
from contracts.audit.verify import Trust
from contracts.errors import Code
from contracts.log.checkpoint import Opened, open_checkpoint, read_checkpoint
from contracts.log.fault import Fault, Unproven
from contracts.log.note import read_note
from contracts.log.tile import WIDTH, Edge
from contracts.merkle import leaf_hash
from contracts.wire.instant import write_instant

ENTRIES_PER_WRITE = 4_096
# A value that cannot be read names no number, whoever signed it.
UNREADABLE = frozenset(
    (
        Code.JSON_INVALID, Code.JSON_DUPLICATE_KEY, Code.VALUE_BOM, Code.VALUE_NOT_UTF8, Code.ATTRIBUTE_INVALID,
        Code.ATTRIBUTE_MISSING, Code.ATTRIBUTE_UNKNOWN, Code.RECORD_TOMBSTONE, Code.VALUE_TOO_LARGE, Code.POISON,
    )
)  # fmt: skip
# A checkpoint that is older than one shown before may be shown for so long: no witness has cosigned the newer one yet.
BEHIND_GRACE_S = 60
LOOKUPS_DAY = "lookups_day"


class Monitor:
    """One log, whom to believe about it, and the memory of what it said."""

    def __init__(
        self,
        source: LogSource,
        state: MonitorState,
        trust: Trust,
        rule_sets: set[str],
        now: datetime,
        predecessor: MonitorState | None = None,
    ) -> None:
        self.source = source
        self.state = state
        self.trust = trust
        self.rule_sets = rule_sets
        self.now = now
        self.predecessor = predecessor
        self.successions: list[tuple[int, dict[str, Any]]] = []
        self.fresh: list[Alarm] = []

    def alarm(self, code: str, subject: str, detail: str, **evidence: Any) -> None:
        """Keep an alarm, and note it as new unless it was there before."""
        raised = Alarm(code, subject, detail, evidence)
        if self.state.raise_alarm(raised, write_instant(self.now)):
            self.fresh.append(raised)

    def follow(self, witness_grace_s: int) -> int:
        """Follow the log to its newest checkpoint; return how many entries were new. Raises Unreachable."""
        raw = self.source.read_checkpoint()
        followed = self.state.followed()
        policy = self.trust.policy
        try:
            opened = open_checkpoint(raw, replace(policy, quorum=0), now=self.trust.now)
        except Unproven as error:
            evidence = {"shown": raw.decode("utf-8", "replace"), "held": followed.note}
            self.alarm(error.fault, policy.origin, error.detail, **evidence)
            return 0
        self._watch_witnesses(opened, witness_grace_s)
        size, root = opened.checkpoint.size, opened.checkpoint.root
        shown = raw.decode()
        if size >= followed.size:
            self.state.forget("behind_since")
        if size < followed.size:
            self._look_back(opened, followed, shown)
        elif size == followed.size and root != followed.edge.root():
            self.alarm(Fault.FORK, policy.origin, f"two roots of size {size}", held=followed.note, shown=shown)
        elif size > followed.size:
            return self._grow(opened, followed, shown)
        return 0

    def _look_back(self, opened: Opened, followed: Followed, shown: str) -> None:
        """A log may show an older checkpoint for a moment, since the newest was not cosigned yet; not for long.

        Its root must be the one that the entries seen here give at that size, or the log has two pasts.
        """
        origin, size, root, _ = opened.checkpoint
        edge = Edge()
        edge.extend(self.state.leaves(size))
        behind_since = float(self.state.recall("behind_since") or self.now.timestamp())
        self.state.note("behind_since", str(behind_since))
        if edge.root() != root:
            detail = f"two roots of size {size}"
            self.alarm(Fault.FORK, origin, detail, held=followed.note, shown=shown, root=edge.root().hex())
        elif self.now.timestamp() - behind_since > BEHIND_GRACE_S:
            detail = f"it had {followed.size} entries and now says {size}"
            self.alarm(Fault.ROLLBACK, origin, detail, held=followed.note, shown=shown)

    def _grow(self, opened: Opened, followed: Followed, shown: str) -> int:
        """Read what is new; keep it only if it leads to the root that the log signed."""
        checkpoint = opened.checkpoint
        before = len(self.fresh)
        try:
            with self.state.transaction():
                edge = self._read(followed, checkpoint.size)
                if edge.root() != checkpoint.root:
                    raise Unproven(
                        Fault.CONSISTENCY_INVALID,
                        f"the log's entries up to {checkpoint.size}, after the {followed.size} seen before, "
                        "do not give the root that it signed",
                    )
                for place, said in self.successions:
                    judge_succession(self, place, said)
                self.state.follow(Followed(checkpoint.size, edge, shown))
                self.state.keep_size(checkpoint.size, self.now.timestamp())
        except Unproven as error:
            # What was read on the way is not the log's: neither it nor its alarms are kept.
            del self.fresh[before:]
            self.alarm(error.fault, checkpoint.origin, error.detail, held=followed.note, shown=shown)
            return 0
        return checkpoint.size - followed.size

    def _read(self, followed: Followed, size: int) -> Edge:
        edge, reader, index = followed.edge, EntryReader(self), followed.size
        for entries in self._stretches(followed.size, size):
            leaves = [leaf_hash(entry) for entry in entries]
            edge.extend(leaves)
            reader.read(index, entries, leaves)
            index += len(entries)
        return edge

    def _stretches(self, start: int, size: int) -> Iterator[list[bytes]]:
        gathered: list[bytes] = []
        for bundle in range(start // WIDTH, -(-size // WIDTH)):
            gathered += self.source.read_bundle(bundle, size)[max(start - bundle * WIDTH, 0) :]
            if len(gathered) >= ENTRIES_PER_WRITE:
                yield gathered
                gathered = []
        yield gathered

    def _watch_witnesses(self, opened: Opened, grace_s: int) -> None:
        """A checkpoint is cosigned a moment after it is signed; what stays without cosignatures has no witness.

        How old a cosignature is says nothing: a log that does not grow is not cosigned again.
        """
        quorum, now_s = self.trust.policy.quorum, self.now.timestamp()
        if len(opened.cosigned) >= quorum:
            self.state.forget("unwitnessed_since")
            return
        since = float(self.state.recall("unwitnessed_since") or now_s)
        self.state.note("unwitnessed_since", str(since))
        if now_s - since > grace_s:
            detail = f"{len(opened.cosigned)} of {quorum} for {now_s - since:.0f} s"
            shown = opened.note.write().decode()
            self.alarm(Fault.QUORUM_MISSING, self.trust.policy.origin, detail, shown=shown)


class EntryReader:
    """Reads entries in the order of the log, and keeps and judges what they say."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._state = monitor.state
        self._keys = self._state.keys()
        self._suspended = self._state.suspended()
        self._seen_at = monitor.now.timestamp()

    def read(self, index: int, entries: list[bytes], leaves: list[bytes]) -> None:
        """Read a stretch of the log, which begins at `index`."""
        rows: list[tuple[int, bytes, str, str | None]] = []
        counts: list[tuple[int, dict[str, Any]]] = []
        for place, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), index):
            try:
                said = read_entry(entry)
            except EntryMalformed as error:
                text = entry.decode("utf-8", "replace")
                self._monitor.alarm(Cause.ENTRY_MALFORMED, f"entry {place}", str(error), entry=text)
                rows.append((place, leaf, "malformed", None))
                continue
            self._take(place, said, entry)
            rows.append((place, leaf, said["kind"], _whose(said)))
            if said["kind"] == "count":
                counts.append((place, said))
        self._state.keep_entries(rows)
        # A count is about entries before it, which are kept by now.
        for place, said in counts:
            self._take_count(place, said)

    def _take(self, place: int, said: dict[str, Any], entry: bytes) -> None:
        match said["kind"]:
            case "accepted":
                self._take_accepted(place, said)
            case "recommendation":
                self._take_recommendation(place, said)
            case "registry":
                self._take_registry(place, said)
            case "key_added" | "key_revoked" | "key_suspended" | "suspension_lifted" | "root":
                self._take_key(place, said, entry)
            case "rule_set":
                self._take_rule_set(place, said)
            case "contract":
                self._take_contract(place, said)
            case "succession":
                # It is judged once the entries before it are kept, with which it is compared.
                self._monitor.successions.append((place, said))
            case "lookups":
                self._take_lookups(place, said)
            case "operator_action":
                fault = operator_actions.judge(self._state, said)
                if fault is not None:
                    self._monitor.alarm(Cause.REPAIR_UNAPPROVED, f"entry {place}", fault, entry=said)
            case "refused":
                if "sequence" in said and _is_authors(said):
                    self._state.keep_refused_number(said["source"], int(said["sequence"]), said["participant"])
            case _:
                # Deadlines need nothing but their place, and whose they are.
                pass

    def _take_accepted(self, place: int, said: dict[str, Any]) -> None:
        kid, source = said["kid"], said["source"]
        if self._keys.get(kid, 0) is not None:
            how = f"revoked at {self._keys[kid]}" if kid in self._keys else "never added"
            detail = f"key {kid} of {source} was {how}"
            self._monitor.alarm(Cause.MESSAGE_KEY_NOT_IN_FORCE, f"entry {place}", detail, entry=said)
        elif kid in self._suspended:
            detail = f"key {kid} of {source} was suspended at {self._suspended[kid]}"
            self._monitor.alarm(Cause.MESSAGE_KEY_NOT_IN_FORCE, f"entry {place}", detail, entry=said)
        before = self._state.keep_message(sha256(f"{source} {said['id']}".encode()).digest()[:16], place)
        if before is not None:
            twice = [before, place]
            self._monitor.alarm(Cause.MESSAGE_TWICE, f"entry {place}", f"as entry {before}", entries=twice)

    def _take_recommendation(self, place: int, said: dict[str, Any]) -> None:
        number, revision, state = said["number"], said["revision"], said["state"]
        last, standing = self._state.revision_of(number)
        expected = last if state == "withdrawn" else last + 1
        if revision != expected or (state == "withdrawn" and standing != "issued"):
            name = f"{number} revision {revision} {state}"
            detail = f"entry {place} follows revision {last} {standing}"
            self._monitor.alarm(Doubt.REVISION_WRONG, name, detail, entry=said)
        self._state.keep_revision(number, revision, state, place, self._seen_at)

    def _take_registry(self, place: int, said: dict[str, Any]) -> None:
        version, last = said["version"], self._state.last_version()
        if version != last + 1:
            detail = f"{version} follows {last}"
            self._monitor.alarm(Cause.REGISTRY_VERSION_SKIPPED, f"entry {place}", detail, entry=said)
        self._state.keep_registry(version, place, said["sha256"], self._seen_at)

    def _take_key(self, place: int, said: dict[str, Any], entry: bytes) -> None:
        kind, kid = said["kind"], said.get("kid", "")
        if kind == "key_added":
            self._keys.setdefault(kid, None)
        elif kind == "key_revoked" and self._keys.get(kid) is None:
            self._keys[kid] = place
        elif kind == "key_suspended":
            self._suspended.setdefault(kid, place)
        elif kind == "suspension_lifted":
            self._suspended.pop(kid, None)
        self._state.keep_key(kind, kid, place, entry)

    def _take_count(self, place: int, said: dict[str, Any]) -> None:
        """Count a source's day again, and see that no day and no entry was left out since the one before."""
        source, day, first, size = said["source"], said["day"], said["first_index"], said["log_size"]
        name, last = f"{source} {day}", self._state.last_count(source)
        held = self._state.count_accepted(source, first, size)
        if held != said["accepted"] or size > place:
            detail = f"entry {place} counts {said['accepted']} accepted up to {size}, the log holds {held}"
            self._monitor.alarm(Cause.COUNT_DIFFERS, name, detail, entry=said, held=held)
        if (first != 0) if last is None else not follows(last, day, first):
            before = "no count" if last is None else f"the count of {last[0]}, which ends at {last[1]}"
            detail = f"entry {place} begins at {first} and follows {before}"
            self._monitor.alarm(Cause.COUNT_SKIPPED, name, detail, entry=said)
        self._state.keep_count(place, said)

    def _take_lookups(self, place: int, said: dict[str, Any]) -> None:
        """See that every day has its root, and one alone."""
        last, day = self._state.recall(LOOKUPS_DAY), said["day"]
        if last is not None and _next_day(last) != day:
            detail = f"entry {place} follows the day {last}"
            self._monitor.alarm(Cause.LOOKUPS_SKIPPED, f"look-ups of {day}", detail, entry=said)
        self._state.note(LOOKUPS_DAY, max(last or day, day))

    def _take_rule_set(self, place: int, said: dict[str, Any]) -> None:
        if said["sha256"] not in self._monitor.rule_sets:
            name = f"rule set {said['id']}/{said['version']}"
            self._monitor.alarm(Cause.RULE_SET_CHANGED, name, f"entry {place}, sha256 {said['sha256']}", entry=said)

    def _take_contract(self, place: int, said: dict[str, Any]) -> None:
        own = self._monitor.trust.contracts or {}
        if own.get(said["type"]) != said["sha256"]:
            detail = f"entry {place}, sha256 {said['sha256']}"
            self._monitor.alarm(Cause.CONTRACT_CHANGED, f"contract {said['type']}", detail, entry=said)


def _next_day(day: str) -> str | None:
    """Return the day after one; None for what is no day."""
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return None


def judge_succession(monitor: Monitor, place: int, said: dict[str, Any]) -> None:
    """Alarm on a log that took over from another, and hold it against what was seen of that one, if that is known."""
    try:
        ended = read_checkpoint(read_note(said["checkpoint"].encode()).text)
    except Unproven as error:
        monitor.alarm(Cause.ENTRY_MALFORMED, f"entry {place}", str(error), entry=said)
        return
    before = monitor.predecessor
    kept = place if before is None else _count_common(before, monitor.state, place)
    gap = "--predecessor shows what they were" if before is None else before.count_kinds(kept)
    most = "at most " if before is None else ""
    detail = f"{ended.origin} was cosigned up to {ended.size} entries; {most}{kept} of them are kept here"
    monitor.alarm(Cause.LOG_SUCCEEDED, said["origin"], detail, entry=said, lost=gap)
    if before is None:
        return
    seen = before.followed().size
    if seen > ended.size or (seen == ended.size and _root(before, seen) != ended.root):
        detail = f"{seen} entries of {ended.origin} were seen, it names another log of {ended.size}"
        monitor.alarm(Cause.SUCCESSION_UNFOUNDED, said["origin"], detail, entry=said, held=before.followed().note)


def _count_common(before: MonitorState, state: MonitorState, size: int) -> int:
    """Return how many of a log's first `size` entries are those of the log before it, from the first on."""
    common = 0
    for old, new in zip(before.leaves(size), state.leaves(size), strict=False):
        if old != new:
            break
        common += 1
    return common


def _root(state: MonitorState, size: int) -> bytes:
    edge = Edge()
    edge.extend(state.leaves(size))
    return edge.root()


def _whose(said: dict[str, Any]) -> str | None:
    """Return the source of a message, or the participant of a refusal that can have used up a number of it.

    That is the topic's, since a key that nobody knows names no participant and a replay on another's topic names the
    wrong one. A number that was used before belongs to the message that was accepted under it.
    """
    if said["kind"] != "refused":
        return said.get("source")
    topic = said["topic"]
    numbered = topic.startswith(FROM_PREFIX) and said["code"] != Code.SEQUENCE_REUSED
    # One that names its number explains that one alone. It must name it where the author was known and could be read.
    nameless = "sequence" not in said and (said["participant"] is None or said["code"] in UNREADABLE)
    return topic.removeprefix(FROM_PREFIX) if numbered and nameless else None


def _is_authors(said: dict[str, Any]) -> bool:
    """Whether a refusal that names a number can have used it up: it stands on its author's own topic."""
    own: bool = said["topic"] == f"{FROM_PREFIX}{said['participant']}"
    return own and said["code"] != Code.SEQUENCE_REUSED


def follows(last: tuple[str, int], day: str, first_index: int) -> bool:
    """Whether a count of a day is the next one after another (day, end), and begins where that ends."""
    try:
        next_day = date.fromisoformat(last[0]) + timedelta(days=1)
    except (ValueError, OverflowError):
        return False
    return day == next_day.isoformat() and first_index == last[1]
