"""The recheck of a pack: everything that can be proven from one file, for a reader who trusts a root key and a log key.

    checkpoint -> leaves -> registry by log position -> messages -> rule sets -> recommendations -> payments

A failure in one part does not stop the others, so that one run names everything that is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

from contracts.admission import FROM_PREFIX, Admitted, admit
from contracts.audit.entries import EntryMalformed, read_entry
from contracts.audit.finding import Beyond, Doubt, Findings, Proven
from contracts.audit.history import History, digest_document, leads_to_root, read_history
from contracts.audit.pack import Message, Pack, PackMalformed, Recommended, read_pack
from contracts.audit.replay import Material, Statement, read_statement, replay
from contracts.errors import Code, Refusal
from contracts.log import entry
from contracts.log.checkpoint import CLOCK_SKEW_S, Checkpoint, Opened, Policy, open_checkpoint
from contracts.log.fault import Fault, Unproven
from contracts.log.proof import check_proof
from contracts.root import PERSONS_MIN
from contracts.rules.case import AMENDED, APPROVED, BILLED, BOOKED, RECEIVED, Fact, facts_of, keys_of
from contracts.rules.rulebook import RuleSet, RuleSetError
from contracts.wire import base64url
from contracts.wire.instant import instant_of_ms, read_instant
from contracts.wire.key import PublicKey
from contracts.wire.record import Record
from contracts.wire.signature import (
    VerifiedRoots,
    check_typ,
    headers_of,
    verify_signature,
)
from contracts.wire.strict_json import read_object


@dataclass(frozen=True, slots=True)
class Trust:
    """What the one who checks believes, all from elsewhere than the pack.

    `cosignature_age_s_max` is how much older than the export a cosignature may be; `registry_version_min` the newest
    registry version known; `persons_min` how many persons must have signed each version; `contracts` the SHA-256 in
    hex of each event contract that this program reads by.
    """

    root: PublicKey
    policy: Policy
    now: datetime
    cosignature_age_s_max: int | None = None
    registry_version_min: int = 0
    persons_min: int = PERSONS_MIN
    contracts: Mapping[str, str] | None = None


class _Check:
    """One recheck: the pack, whom to trust, and what has been read of the pack so far."""

    def __init__(self, pack: Pack, trust: Trust) -> None:
        self.pack = pack
        self.trust = trust
        self.findings = Findings()
        self.entries: dict[int, dict[str, Any]] = {}
        self.written: dict[int, bytes] = {}
        self.facts: list[Fact] = []
        self.personal: dict[tuple[str, str], dict[str, str]] = {}
        self.codes: dict[int, str] = {}
        self.roots = VerifiedRoots()

    def run(self) -> Findings:
        """Check everything."""
        opened = self._check_checkpoint()
        self._read_leaves(None if opened is None else opened.checkpoint)
        failed = len(self.findings.failures)
        trust = self.trust
        history = read_history(
            self.pack.registries, self.entries, trust.root, self.findings, trust.registry_version_min, trust.persons_min
        )
        if len(self.findings.failures) == failed:
            newest = history.versions[-1].registry
            self.findings.prove(Proven.REGISTRY, f"versions 1 to {newest.version}")
        self._check_successions(history)
        failed = len(self.findings.failures)
        for message in sorted(self.pack.messages, key=lambda one: one.index):
            self._check_message(message, history)
        self._check_codes()
        if len(self.findings.failures) == failed:
            self.findings.prove(Proven.MESSAGES, f"{len(self.pack.messages)} messages")
        rule_sets = self._read_rule_sets(history)
        statements = [
            statement
            for recommended in self.pack.recommendations
            if (statement := self._read_recommended(recommended, history)) is not None
        ]
        try:
            replay(statements, Material(self.facts, self.personal, rule_sets), self.findings)
        except RuleSetError as error:
            self.findings.doubt(Doubt.RULE_SET_NOT_IN_LOG, "rule sets", str(error))
        self._check_claims(statements)
        self._check_newest(opened, statements)
        self._leave(statements)
        return self.findings

    def _check_checkpoint(self) -> Opened | None:
        pack, trust = self.pack, self.trust
        documents = (shown.document for shown in pack.registries)
        if pack.root_kid != trust.root.kid and not leads_to_root(documents, trust.root, pack.root_kid):
            self.findings.doubt(Doubt.ROOT_DIFFERS, pack.root_kid)
        if pack.origin != trust.policy.origin:
            self.findings.doubt(Fault.ORIGIN_WRONG, pack.origin, f"expected {trust.policy.origin}")
        try:
            opened = open_checkpoint(pack.checkpoint.encode(), trust.policy, now=trust.now)
        except Unproven as error:
            self.findings.doubt(error.fault, "checkpoint", error.detail)
            return None
        fresh = self._check_freshness(opened)
        if fresh:
            seen = ", ".join(
                f"{name} at {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}Z"
                for name, time in opened.cosigned.items()
            )
            detail = f"{opened.checkpoint.size} entries; cosigned by {seen or 'nobody'}"
            self.findings.prove(Proven.CHECKPOINT, pack.origin, detail)
        return opened

    def _check_freshness(self, opened: Opened) -> bool:
        """A cosignature must not be much older than the export, or nobody watched the log at that time."""
        age_s_max = self.trust.cosignature_age_s_max
        if age_s_max is None:
            return True
        try:
            oldest = read_instant(self.pack.exported_at) - timedelta(seconds=age_s_max + CLOCK_SKEW_S)
        except ValueError:
            self.findings.doubt(Doubt.PACK_MALFORMED, "exported_at")
            return False
        stale = [name for name, time in opened.cosigned.items() if time < oldest.timestamp()]
        for name in stale:
            self.findings.doubt(Fault.COSIGNATURE_STALE, "checkpoint", f"of {name}, exported {self.pack.exported_at}")
        return not stale

    def _check_newest(self, opened: Opened | None, statements: list[Statement]) -> None:
        """Nobody can cosign what was not said yet: such a cosignature, or such a time of a statement, is false."""
        if opened is None or not opened.cosigned or not statements:
            return
        newest = max(statement.envelope.recordedtime for statement in statements)
        for name, time in opened.cosigned.items():
            if time < newest.timestamp() - CLOCK_SKEW_S:
                self.findings.doubt(Fault.COSIGNATURE_STALE, "checkpoint", f"of {name}, before what it covers was said")

    def _read_leaves(self, checkpoint: Checkpoint | None) -> None:
        sound = checkpoint is not None
        for leaf in self.pack.leaves:
            if checkpoint is not None and not leaf.leads_to(checkpoint.size, checkpoint.root):
                self.findings.doubt(Fault.INCLUSION_INVALID, f"entry {leaf.index}", f"log of {checkpoint.size} entries")
                sound = False
                continue
            try:
                self.entries[leaf.index] = read_entry(leaf.entry.encode())
            except EntryMalformed as error:
                self.findings.doubt(Doubt.LEAF_DIFFERS, f"entry {leaf.index}", str(error))
                continue
            self.written[leaf.index] = leaf.entry.encode()
        if sound:
            self.findings.prove(Proven.LEAVES, f"{len(self.pack.leaves)} entries")

    def _check_successions(self, history: History) -> None:
        """Where the registry put another log in force, the entry before it names what the earlier one had."""
        for before, after in pairwise(history.versions):
            if after.registry.log_origin == before.registry.log_origin:
                continue
            ended, kept = after.registry.predecessors[-1], after.since - 1
            expected = entry.succession(origin=after.registry.log_origin, checkpoint=ended.note)
            if self.written.get(kept) != expected:
                self.findings.doubt(Doubt.LEAF_MISSING, f"succession of {ended.policy.origin}", f"index {kept}")
                continue
            size = ended.checkpoint.size
            detail = f"{ended.policy.origin} was cosigned up to {size} entries, at most {kept} are kept here"
            self.findings.leave(Beyond.LOG_SUCCEEDED, after.registry.log_origin, detail)

    def _check_message(self, message: Message, history: History) -> None:
        name = f"message at {message.index}"
        said = self.entries.get(message.index)
        if said is None or said.get("kind") != "accepted":
            self.findings.doubt(Doubt.LEAF_MISSING, name)
            return
        if message.value is None:
            self._take_erased(message, said)
            return
        value = message.value.encode()
        subject = self._subject_of(value)
        registry = history.in_force(message.index)
        owner = None if registry is None else registry.owner_of(str(said.get("source")))
        if registry is None or owner is None:
            self.findings.doubt(Doubt.KEY_NOT_YET_ADDED, name, "no registry before it knows its source")
            return
        if doubt := history.doubt_key(str(said.get("kid")), owner.id, message.index):
            self.findings.doubt(doubt, name, f"key {said.get('kid')} of {owner.id}")
        if instant_of_ms(message.append_time_ms) > self._received_at(said) + timedelta(seconds=CLOCK_SKEW_S):
            self.findings.doubt(Doubt.MESSAGE_REFUSED, name, "it came to Kafka after the hub received it")
        proof = message.jws_proof
        record = Record(
            FROM_PREFIX + owner.id, 0, 0, subject, value, headers_of(message.jws, proof), message.append_time_ms
        )
        verdict = admit(record, registry, self.roots)
        if not isinstance(verdict, Admitted):
            self._note_refusal(verdict.code, verdict.detail, name, said, value)
            return
        expected = entry.accepted(
            source=verdict.envelope.source, id=verdict.envelope.id, type=verdict.envelope.type,
            digest=verdict.envelope.digest, kid=verdict.signature.kid, sig=verdict.signature.sig,
            received_at=self._received_at(said),
        )  # fmt: skip
        if self.written[message.index] != expected:
            self._note_leaf(name, said, read_object(expected))
            return
        self._check_contract(verdict.envelope.type, registry.contracts)
        self._take(verdict, message.index)

    def _take(self, admitted: Admitted, index: int) -> None:
        envelope, event = admitted.envelope, admitted.event
        fact = facts_of(envelope, event, admitted.participant, index)
        keys = keys_of(envelope.type, envelope.subject, envelope.data)
        if keys.case is not None and keys.case != self.pack.subject and keys.billing_code != self.pack.subject:
            self.findings.doubt(Doubt.SUBJECT_DIFFERS, f"message at {index}", keys.case)
            return
        if keys.case is None and keys.billing_code is not None:
            self.codes[index] = keys.billing_code
        self.facts.append(fact)
        if fact.type in (APPROVED, AMENDED) and (personal := event.personal()) is not None:
            self.personal[fact.source, fact.id] = personal

    def _check_codes(self) -> None:
        """Money and what is said of it belongs to the pack's subject, or to a bill that the pack holds."""
        billed = {self.pack.subject, *(fact.data["billing_code"] for fact in self.facts if fact.type == BILLED)}
        for index, code in self.codes.items():
            if code not in billed:
                self.findings.doubt(Doubt.SUBJECT_DIFFERS, f"message at {index}", code)

    def _take_erased(self, message: Message, said: Mapping[str, Any]) -> None:
        name = f"message at {message.index}"
        self.findings.leave(Beyond.ORIGINAL_ERASED, name, f"{said['type']} of {said['source']}")
        if message.fact is None:
            return
        try:
            fact = Fact.from_json(message.fact)
        except (TypeError, ValueError):
            self.findings.doubt(Doubt.PACK_MALFORMED, name, "the fact is not of its form")
            return
        if (fact.source, fact.id, fact.type, fact.sha256) != tuple(said[k] for k in ("source", "id", "type", "sha256")):
            self.findings.doubt(Doubt.LEAF_DIFFERS, name)
        self.facts.append(fact._replace(log_index=message.index))

    def _note_refusal(self, code: Code, detail: str, name: str, said: Mapping[str, Any], value: bytes) -> None:
        if base64url.encode(sha256(value).digest()) != said.get("sha256"):
            self.findings.doubt(Doubt.VALUE_CHANGED, name)
        elif code is Code.KEY_REVOKED:
            self.findings.doubt(Doubt.KEY_REVOKED, name, "by the registry in force there")
        elif code in _SIGNATURE_CODES:
            self.findings.doubt(Doubt.MESSAGE_SIGNATURE_INVALID, name, str(code))
        else:
            self.findings.doubt(Doubt.MESSAGE_REFUSED, name, f"{code} {detail}".rstrip())

    def _note_leaf(self, name: str, said: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        differing = sorted(key for key in expected.keys() | said.keys() if expected.get(key) != said.get(key))
        code = Doubt.VALUE_CHANGED if "sha256" in differing else Doubt.LEAF_DIFFERS
        self.findings.doubt(code, name, ", ".join(differing) or "spelling")

    def _subject_of(self, value: bytes) -> bytes:
        try:
            return str(read_object(value).get("subject")).encode("ascii", "replace")
        except Refusal:
            return b""

    def _received_at(self, said: Mapping[str, Any]) -> datetime:
        try:
            return read_instant(str(said.get("received_at")))
        except ValueError:
            return self.trust.now

    def _check_contract(self, event_type: str, registered: Mapping[str, str]) -> None:
        own = self.trust.contracts
        if own is not None and own.get(event_type) != registered.get(event_type):
            self.findings.doubt(Doubt.CONTRACT_DIFFERS, event_type)

    def _read_rule_sets(self, history: History) -> list[tuple[int, RuleSet]]:
        """Read the rule sets, each against its leaf, and against the signed registry that was in force with it."""
        found = []
        for shown in self.pack.rule_sets:
            said, digest = self.entries.get(shown.index, {}), digest_document(shown.document)
            name = f"rule set at {shown.index}"
            if said.get("kind") != "rule_set" or said.get("sha256") != digest:
                self.findings.doubt(Doubt.RULE_SET_NOT_IN_LOG, name, f"its bytes have {digest[:12]}")
                continue
            try:
                rule_set = RuleSet.read(shown.document.encode())
            except RuleSetError as error:
                self.findings.doubt(Doubt.RULE_SET_NOT_IN_LOG, name, str(error))
                continue
            registry = history.in_force(shown.index)
            named = () if registry is None else registry.rule_sets
            if (rule_set.id, rule_set.version, digest) not in {(one.id, one.version, one.sha256) for one in named}:
                self.findings.doubt(Doubt.RULE_SET_NOT_REGISTERED, f"{rule_set.id}/{rule_set.version}", digest[:12])
                continue
            found.append((shown.index, rule_set))
        return found

    def _read_recommended(self, recommended: Recommended, history: History) -> Statement | None:
        name = f"recommendation at {recommended.index}"
        value = recommended.value.encode()
        try:
            statement = read_statement(recommended.index, value)
        except (Refusal, TypeError) as error:
            self.findings.doubt(Doubt.CONTENT_DIFFERS, name, str(error))
            return None
        if statement.data["application"] != self.pack.subject:
            self.findings.doubt(Doubt.SUBJECT_DIFFERS, name, statement.data["application"])
        self._check_own_signature(statement, recommended.jws, history)
        expected = entry.recommendation_of(statement.envelope)
        if self.written.get(recommended.index) != expected:
            said = self.entries.get(recommended.index)
            if said is None:
                self.findings.doubt(Doubt.LEAF_MISSING, statement.name, f"index {recommended.index}")
            else:
                self._note_leaf(statement.name, said, read_object(expected))
        self._check_tlog_proof(statement, expected, recommended.tlog_proof)
        return statement

    def _check_tlog_proof(self, statement: Statement, expected: bytes, proof: str | None) -> None:
        if proof is None:
            self.findings.doubt(Doubt.PROOF_MISSING, statement.name)
            return
        try:
            # Its checkpoint is that of the release, which no witness need have cosigned yet.
            policy = replace(self.trust.policy, quorum=0)
            check_proof(proof.encode(), expected, policy, now=self.trust.now, index=statement.index)
        except Unproven as error:
            self.findings.doubt(error.fault, statement.name, error.detail)

    def _check_own_signature(self, statement: Statement, jws: str | None, history: History) -> None:
        """The hub signs after the entry, so its key counts if some version names it and none before revoked it."""
        newest = history.versions[-1].registry if history.versions else None
        if jws is None or newest is None:
            self.findings.doubt(Doubt.RECOMMENDATION_SIGNATURE_INVALID, statement.name, "not signed")
            return
        try:
            signature = verify_signature(statement.value, headers_of(jws, None), newest.message_key, self.roots)
            check_typ(signature, statement.envelope.type)
        except Refusal as error:
            self.findings.doubt(Doubt.RECOMMENDATION_SIGNATURE_INVALID, statement.name, str(error.code))
            return
        found = newest.key(signature.kid)
        if found is None or found[0].kind != "hub" or statement.envelope.source not in found[0].sources:
            self.findings.doubt(Doubt.RECOMMENDATION_SIGNATURE_INVALID, statement.name, "no key of the hub")
            return
        life = history.keys.get(signature.kid)
        if life is None:
            self.findings.doubt(Doubt.KEY_NOT_YET_ADDED, statement.name, f"key {signature.kid} of the hub")
        elif life.revoked is not None and life.revoked < statement.index:
            self.findings.doubt(Doubt.KEY_REVOKED, statement.name, f"key {signature.kid} of the hub")

    def _check_claims(self, statements: list[Statement]) -> None:
        """No payment may carry two applications' recommendations: by what the pack claims, and by what it holds."""
        uses = {(claim.source, claim.id, claim.number) for claim in self.pack.claims}
        own: set[tuple[str, str]] = set()
        for statement in statements:
            for basis in statement.data["basis"]:
                if basis["type"] in (RECEIVED, BOOKED):
                    own.add((basis["source"], basis["id"]))
                    uses.add((basis["source"], basis["id"], statement.data["number"]))
        failed = False
        for source, identity in sorted(own):
            numbers = sorted(number for one, other, number in uses if (one, other) == (source, identity))
            if len(numbers) > 1:
                failed = True
                self.findings.doubt(Doubt.PAYMENT_USED_TWICE, f"payment {identity} of {source}", ", ".join(numbers))
        if own and not failed:
            self.findings.prove(Proven.PAYMENTS, f"{len(own)} payments")

    def _leave(self, statements: list[Statement]) -> None:
        self.findings.leave(Beyond.COMPLETENESS, self.pack.subject)
        if self.trust.registry_version_min == 0:
            self.findings.leave(Beyond.REGISTRY_AFTERWARDS, self.pack.origin)
        if self.trust.policy.quorum == 0:
            self.findings.leave(Beyond.NO_WITNESS, self.pack.origin)
        shown = {statement.index for statement in statements}
        erased = [
            (index, said)
            for index, said in sorted(self.entries.items())
            if said["kind"] == "recommendation" and said["case"] == self.pack.subject and index not in shown
        ]
        for index, said in erased:
            name = f"recommendation at {index}"
            detail = f"{said['number']} revision {said['revision']} {said['state']}"
            self.findings.leave(Beyond.RECOMMENDATION_ERASED, name, detail)
        if not statements and not erased:
            self.findings.leave(Beyond.NO_RECOMMENDATION, self.pack.subject)


_SIGNATURE_CODES = frozenset(code for code in Code if code.startswith(("jws_", "batch_", "header_", "signature_")))


def verify_pack(raw: bytes | Pack, trust: Trust) -> Findings:
    """Recheck a pack with nothing but its bytes and what the reader trusts."""
    if isinstance(raw, bytes):
        try:
            raw = read_pack(raw)
        except PackMalformed as error:
            findings = Findings()
            findings.doubt(Doubt.PACK_MALFORMED, "the file", str(error))
            return findings
    return _Check(raw, trust).run()
