"""What is shown beside the log: packs with the originals, participants' own counts among them. All of it is checked.

The log holds digests alone. The originals come in packs, which `hub audit export --all -o DIR` writes; the oversight
body fetches that folder as it fetches any file, and no pack is believed: each is rechecked and compared with the log.
"""

import json
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from connectors.oversight.alarm import Cause
from connectors.oversight.monitor import Monitor
from connectors.oversight.verify_command import describe
from contracts.audit.finding import Doubt
from contracts.audit.history import digest_document, doubt_registry, expect_entries, find_first_root
from contracts.audit.pack import PACK_BYTES_MAX, Pack, PackMalformed, read_pack
from contracts.audit.replay import read_statement
from contracts.audit.verify import verify_pack
from contracts.errors import Refusal, RegistryError
from contracts.events import read_event
from contracts.log.checkpoint import read_checkpoint
from contracts.log.fault import Unproven
from contracts.log.note import read_note
from contracts.merkle import leaf_hash
from contracts.registry import LiftedSuspension, Registry
from contracts.rules.case import BILLED, BOOKED, RECEIVED, keys_of
from contracts.rules.clock import jakarta_day
from contracts.suspension import read_suspension
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.key import PublicKey

STATED: Final = ".count.stated.v1"
#: How long after the end of a day its count may still come.
COUNT_GRACE: Final = timedelta(days=1)
GAPS_NAMED_MAX: Final = 20
GAPS_MAX: Final = 1_000
#: How long a number may be missing beyond the time in which its message may be deferred.
GAP_GRACE_S: Final = 300


class Shown:
    """What was shown to a monitor, held against what it saw in the log."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._state = monitor.state

    def read_packs(self, folder: Path) -> int:
        """Recheck every pack that is new or has changed; return how many."""
        read = 0
        for file in sorted(folder.glob("*.json")):
            if not file.is_file():
                continue
            with file.open("rb") as opened:
                # One byte more than a pack may have tells that it has too many.
                raw = opened.read(PACK_BYTES_MAX + 1)
            digest = sha256(raw).hexdigest()
            if self._state.knows_pack(file.name, digest):
                continue
            with self._state.transaction():
                if self._read_pack(file.name, raw):
                    self._state.keep_pack(file.name, digest)
                    read += 1
        return read

    def _read_pack(self, name: str, raw: bytes) -> bool:
        """Recheck one pack; False if it is ahead of what was followed and must wait."""
        monitor = self._monitor
        try:
            pack = read_pack(raw)
            size = read_checkpoint(read_note(pack.checkpoint.encode()).text).size
            if size > self._state.followed().size:
                return False
        except (PackMalformed, Unproven) as error:
            monitor.alarm(Doubt.PACK_MALFORMED, name, str(error), pack=name)
            return True
        findings = verify_pack(pack, monitor.trust)
        for finding in findings.failures:
            subject = f"{pack.subject}: {finding.subject}"
            monitor.alarm(finding.code, subject, finding.detail, pack=name, finding=describe(finding))
        self._compare_leaves(name, pack)
        self._take_registries(pack)
        self._take_messages(pack)
        if not findings.failures:
            self._take_statements(name, pack)
            self._state.include(pack.subject, size, (message.index for message in pack.messages))
        for recommended in pack.recommendations:
            self._take_recommended(name, recommended.index, recommended.value)
        return True

    def _compare_leaves(self, name: str, pack: Pack) -> None:
        for leaf in pack.leaves:
            if self._state.leaf_at(leaf.index) != leaf_hash(leaf.entry.encode()):
                evidence = {"entry": leaf.entry, "shown": pack.checkpoint, "held": self._state.followed().note}
                self._monitor.alarm(
                    Cause.PACK_OF_ANOTHER_PAST, f"entry {leaf.index}", f"in {name}", pack=name, **evidence
                )

    def _take_messages(self, pack: Pack) -> None:
        sequences = []
        for message in pack.messages:
            try:
                envelope = None if message.value is None else read_envelope(message.value.encode())
            except Refusal:
                continue
            if envelope is not None:
                sequences.append((envelope.source, envelope.sequence))
                self._know(message.index, envelope)
        self._state.show((message.index for message in pack.messages), sequences)

    def _take_statements(self, name: str, pack: Pack) -> None:
        """Compare the participants' own counts of a pack that proved sound."""
        for message in pack.messages:
            try:
                envelope = None if message.value is None else read_envelope(message.value.encode())
                if envelope is None or not envelope.type.endswith(STATED):
                    continue
                read_event(envelope.type, envelope.data, envelope.subject)
            except Refusal:
                continue
            if envelope.data["source"] == envelope.source:
                self._take_statement(name, message.index, envelope.data)

    def _know(self, index: int, envelope: Envelope) -> None:
        """Note whose a message is, by its own word; that the word is its author's is the recheck's to say."""
        try:
            event = read_event(envelope.type, envelope.data, envelope.subject)
        except Refusal:
            return
        keys = keys_of(envelope.type, envelope.subject, event.decision_facts())
        billed = keys.billing_code if envelope.type == BILLED else None
        self._state.know(index, keys.case or keys.billing_code or envelope.subject, billed)

    def watch_completeness(self) -> None:
        """Alarm on a message that a pack of its case leaves out, wherever else it was shown."""
        for index, subject in self._state.left_out():
            self._monitor.alarm(Cause.MESSAGE_LEFT_OUT, f"{subject}: entry {index}", "", index=index, case=subject)

    def _take_recommended(self, name: str, index: int, value: str) -> None:
        """Note a recommendation as shown, and that no other rests on its payments."""
        self._state.show_recommendation(index)
        try:
            data = read_statement(index, value.encode()).data
        except (Refusal, TypeError):
            return
        for basis in data["basis"]:
            if basis["type"] not in (RECEIVED, BOOKED):
                continue
            number, first = self._state.claim_payment((basis["source"], basis["id"]), data["number"], index)
            if number != data["number"]:
                self._monitor.alarm(
                    Doubt.PAYMENT_USED_TWICE,
                    f"payment {basis['id']} of {basis['source']}",
                    f"{number} and {data['number']}",
                    recommendations=[first, index],
                    pack=name,
                )

    def _take_registries(self, pack: Pack) -> None:
        """Take the documents whose digests the log names, and hold key changes and signatures against them."""
        ordered = sorted(pack.registries, key=lambda shown: shown.index)
        root = find_first_root([shown.document for shown in ordered], self._monitor.trust.root)
        for shown in ordered:
            version = self._state.keep_document(shown.index, digest_document(shown.document), shown.document)
            if version is not None:
                # What the log says of keys belongs to the version before until the next: now that is all there.
                before = self._state.document(version - 1)
                if before is not None:
                    self._check_registry(version - 1, before, root)
                self._check_registry(version, shown.document, root)

    def _check_registry(self, version: int, document: str, root: PublicKey) -> None:
        subject = f"registry version {version}"
        before = self._state.document(version - 1)
        if before is None and version > 1:
            return
        try:
            new = Registry.read(document.encode(), root)
            old = None if before is None else Registry.read(before.encode(), root)
        except RegistryError as error:
            self._monitor.alarm(doubt_registry(error), subject, str(error), document=document)
            return
        persons, persons_min = len(new.signers), self._monitor.trust.persons_min
        if persons < persons_min:
            detail = f"{persons} signed, {persons_min} must"
            self._monitor.alarm(Doubt.REGISTRY_TOO_FEW_PERSONS, subject, detail, document=document)
        differing = set(filter(partial(_is_unfounded, new), self._state.key_entries(version)))
        differing ^= set(expect_entries(old, new))
        if differing:
            entries = sorted(entry.decode() for entry in differing)
            self._monitor.alarm(Cause.KEY_CHANGE_UNFOUNDED, subject, f"{len(entries)} entries differ", entries=entries)

    def _watch_keys(self) -> None:
        """Check what the log says of keys since the newest version that was shown: that takes no version of its own."""
        document = self._state.newest_document()
        registry = self._newest_registry()
        if document is not None and registry is not None and self._state.document(registry.version) == document:
            root = find_first_root([document], self._monitor.trust.root)
            self._check_registry(registry.version, document, root)

    def watch_deadlines(self, within_s: int) -> None:
        """Alarm on recommendations, messages and registry versions that nobody has shown in time."""
        self._watch_keys()
        before = self._monitor.now.timestamp() - within_s
        for index, name in self._state.overdue(before):
            self._monitor.alarm(Cause.RECOMMENDATION_NOT_SHOWN, name, f"entry {index}", index=index)
        for source, number, first in self._state.not_shown(before):
            detail = f"{number} messages"
            self._monitor.alarm(Cause.MESSAGE_NOT_SHOWN, f"{source} from entry {first}", detail, first=first)
        for index, version in self._state.overdue_registries(before):
            self._monitor.alarm(Cause.REGISTRY_NOT_SHOWN, f"registry version {version}", f"entry {index}", index=index)

    def keep_tops(self) -> None:
        """Note how far the sequences reach that were shown until now."""
        self._state.keep_tops(self._monitor.now.timestamp())

    def watch_sequences(self) -> None:
        """Alarm if more numbers of a participant are missing than the log holds refusals of it.

        A source is judged once all of its accepted messages have been shown, and a gap once it had the time in which a
        message may be deferred: only then does its refusal have to stand in the log.
        """
        registry = self._newest_registry()
        deferral_s = 0 if registry is None else registry.limits.deferral_s
        before = self._monitor.now.timestamp() - deferral_s - GAP_GRACE_S
        if not self._state.has_tops(before):
            return
        shown = self._state.sources_shown()
        tops = {source: top for source, top in self._state.tops(before).items() if source in shown}
        parties: dict[str | None, dict[str, int]] = {}
        for source, top in tops.items():
            owner = None if registry is None else registry.owner_of(source)
            parties.setdefault(None if owner is None else owner.id, {})[source] = top
        with self._state.transaction():
            for party, of_party in parties.items():
                self._watch_party(party, of_party)
            for source, top in tops.items():
                self._state.judge_top(source, top)

    def _watch_party(self, party: str | None, tops: dict[str, int]) -> None:
        """Alarm on each source of a participant with gaps, if its refusals cannot be the reason of all of them."""
        missing = {source: self._state.count_missing(source, top, party) for source, top in tops.items()}
        refused = 0 if party is None else self._state.count_refused(party)
        if sum(missing.values()) <= refused:
            return
        for source, top in tops.items():
            numbers = _list_gaps(self._state.gaps(source, top, party, GAPS_MAX))
            if numbers:
                named = ", ".join(map(str, numbers[-GAPS_NAMED_MAX:]))
                # A name that grows with the loss: an older alarm must never silence a newer one.
                subject, detail = f"{source} to {numbers[-1]}", f"{missing[source]} missing, {refused} refused: {named}"
                evidence = {"source": source, "missing": numbers, "refused": refused}
                self._monitor.alarm(Cause.SEQUENCE_GAP, subject, detail, **evidence)

    def _newest_registry(self) -> Registry | None:
        document = self._state.newest_document()
        try:
            return None if document is None else Registry.read(document.encode(), self._monitor.trust.root)
        except RegistryError:
            return None

    def _take_statement(self, name: str, index: int, said: dict[str, Any]) -> None:
        """Hold what a participant counted of its day against the hub's count, which the log had before it."""
        source, day = said["source"], said["day"]
        hub = self._state.count_of(source, day)
        own = said["counted"]
        refused = sum(one["count"] for one in own["refused"])
        stated = {"first_index": said["first_index"], "log_size": said["log_size"], "sha256": own["sha256"]}
        stated |= {"accepted": own["accepted"], "refused": refused}
        if said["rebuilt_at"] is not None and hub is not None:
            # A sender that lost its records does not know what was refused before.
            stated["refused"] = hub["refused"]
        if hub is None or any(hub[member] != value for member, value in stated.items()):
            detail = f"the participant says otherwise in entry {index}"
            evidence = {"hub": hub, "participant": said, "pack": name, "entry": index}
            self._monitor.alarm(Cause.COUNT_DIFFERS, f"{source} {day} revision {said['revision']}", detail, **evidence)

    def watch_counts(self) -> None:
        """Alarm on a source whose days are not counted any more."""
        overdue = jakarta_day(self._monitor.now - COUNT_GRACE) - timedelta(days=1)
        for source, day in self._state.counted_days().items():
            if day < overdue.isoformat():
                self._monitor.alarm(Cause.COUNT_NOT_MADE, f"{source} after {day}", "", source=source, last=day)


def _is_unfounded(registry: Registry, written: bytes) -> bool:
    """Whether an entry of a key is not a suspension that somebody signed who may; those need no registry version.

    Who may is said by the registry in force there, however the act is dated; one that it lifted does not come back.
    """
    said = json.loads(written)
    if said["kind"] != "key_suspended":
        return True
    try:
        taken = read_suspension(said["act"].encode(), registry.root)
    except RegistryError:
        return True
    lifted = LiftedSuspension(kid=taken.kid, suspension=taken.sha256) in registry.lifted
    return lifted or taken.kid != str(said["kid"])


def _list_gaps(gaps: list[tuple[int, int]]) -> list[int]:
    """Return the numbers of gaps, the newest of them, at most as many as a list may hold; in order."""
    missing: list[int] = []
    for first, last in gaps:
        missing.extend(range(last, max(first - 1, last - GAPS_MAX + len(missing)), -1))
    return missing[::-1]
