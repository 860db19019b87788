"""The case decided again: for each recommendation the facts before it, folded, decided, written to the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from contracts.audit.finding import Beyond, Doubt, Findings, Proven
from contracts.events import read_event
from contracts.events.hub import RecommendationIssued
from contracts.rules.case import Fact, fold
from contracts.rules.decide import Decision, Wanted, decide, foundation_lost, recommendation_data
from contracts.rules.rulebook import Rulebook, RuleSet
from contracts.wire.envelope import Envelope, envelope_of
from contracts.wire.strict_json import read_object

FactKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """A recommendation as it was said: its value's members in their order, read in two ways."""

    index: int
    value: bytes
    members: Mapping[str, Any]
    envelope: Envelope

    @property
    def data(self) -> Mapping[str, Any]:
        """What it says."""
        return self.envelope.data

    @property
    def name(self) -> str:
        """How findings name it."""
        return f"{self.data['number']} revision {self.data['revision']} {self.data['state']}"


@dataclass(frozen=True, slots=True)
class Material:
    """What a decision is computed from: facts, the worker's data by event, rule sets by the index they count from."""

    facts: Sequence[Fact]
    personal: Mapping[FactKey, Mapping[str, str]]
    rule_sets: Sequence[tuple[int, RuleSet]]

    def decide(self, statement: Statement) -> Decision:
        """Decide the case as it stood in the log just before the statement. Raises RuleSetError."""
        before = [fact for fact in self.facts if fact.log_index < statement.index]
        rulebook = Rulebook(rule_set for index, rule_set in self.rule_sets if index < statement.index)
        return decide(fold(before), rulebook, statement.envelope.time)


def read_statement(index: int, value: bytes) -> Statement:
    """Read a recommendation's value. Raises Refusal."""
    members = read_object(value)
    envelope = envelope_of(members, value)
    event = read_event(envelope.type, envelope.data, envelope.subject)
    if not isinstance(event, RecommendationIssued):
        raise TypeError("no recommendation")
    return Statement(index, value, members, envelope)


def replay(statements: Iterable[Statement], material: Material, findings: Findings) -> None:
    """Compute every recommendation again, in the order of the log, and compare it with what was said."""
    last: Statement | None = None
    for statement in sorted(statements, key=lambda one: one.index):
        failed = len(findings.failures)
        _check_revision(statement, last, findings)
        decision = material.decide(statement)
        if statement.data["state"] == "withdrawn":
            _check_withdrawal(statement, last, decision, findings)
        else:
            _check_issue(statement, decision, material, findings)
        if len(findings.failures) == failed:
            rule_set = statement.data["rule_set"]
            by = f"rule set {rule_set['id']}/{rule_set['version']}, {len(statement.data['basis'])} messages"
            findings.prove(Proven.RECOMMENDATION, statement.name, by)
        last = statement


def _check_revision(statement: Statement, last: Statement | None, findings: Findings) -> None:
    """The first is 1, an issue takes the next, a withdrawal names the one that stands; the number never changes."""
    revision, state, number = (0, "withdrawn", statement.data["number"])
    if last is not None:
        revision, state, number = (last.data[name] for name in ("revision", "state", "number"))
    withdrawn = statement.data["state"] == "withdrawn"
    expected = revision if withdrawn else revision + 1
    if (
        statement.data["revision"] != expected
        or (withdrawn and state != "issued")
        or statement.data["number"] != number
    ):
        findings.doubt(Doubt.REVISION_WRONG, statement.name, f"follows revision {revision} {state} of {number}")


def _check_issue(statement: Statement, decision: Decision, material: Material, findings: Findings) -> None:
    wanted = decision.recommendation
    _check_rule_set(statement, decision, findings)
    _check_basis(statement, material, findings)
    if wanted is None:
        findings.doubt(Doubt.NOT_FOUNDED, statement.name, ", ".join(decision.blocked_by))
        return
    computed = _compute(statement, wanted, material, findings)
    if computed == statement.value:
        return
    said, expected = statement.data, read_object(computed)["data"]
    differing = sorted(name for name in expected.keys() | said.keys() if expected.get(name) != said.get(name))
    if differing == ["basis"]:
        findings.doubt(Doubt.BASIS_DIFFERS, statement.name, _compare_basis(statement.data["basis"], expected["basis"]))
    elif differing != ["rule_set"]:
        findings.doubt(Doubt.CONTENT_DIFFERS, statement.name, ", ".join(differing) or "spelling")


def _compute(statement: Statement, wanted: Wanted, material: Material, findings: Findings) -> bytes:
    """Return the value that the decision comes to, with the attributes that were chosen when it was sealed."""
    personal = material.personal.get(wanted.granted)
    if personal is None:
        findings.leave(Beyond.ORIGINAL_ERASED, statement.name, "the worker's data cannot be compared")
        personal = statement.data["worker"]
    said = statement.data
    data = recommendation_data(wanted, personal, said["number"], said["revision"], "issued")
    return to_json({**statement.members, "data": data})


def _compare_basis(said: Sequence[Mapping[str, Any]], computed: Sequence[Mapping[str, Any]]) -> str:
    return f"said {_name_basis(said)}; computed {_name_basis(computed)}"


def _name_basis(basis: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{entry['role']} at {entry['log_index']}" for entry in basis)


def _check_rule_set(statement: Statement, decision: Decision, findings: Findings) -> None:
    said, chosen = statement.data["rule_set"], decision.rule_set
    if chosen is not None and said != {"id": chosen.id, "version": chosen.version, "sha256": chosen.sha256}:
        findings.doubt(
            Doubt.RULE_SET_WRONG,
            statement.name,
            f"said {said['id']}/{said['version']} {said['sha256'][:12]}, "
            f"the date asks for {chosen.id}/{chosen.version} {chosen.sha256[:12]}",
        )


def _check_basis(statement: Statement, material: Material, findings: Findings) -> None:
    facts = {(fact.source, fact.id): fact for fact in material.facts}
    for entry in statement.data["basis"]:
        name = f"{entry['role']} {entry['id']} at {entry['log_index']}"
        fact = facts.get((entry["source"], entry["id"]))
        if entry["log_index"] >= statement.index or (fact is not None and fact.log_index >= statement.index):
            findings.doubt(Doubt.BASIS_NOT_BEFORE, statement.name, f"{name}, the recommendation at {statement.index}")
        if fact is None:
            findings.doubt(Doubt.BASIS_MISSING, statement.name, name)
        elif fact.sha256 != entry["sha256"]:
            findings.doubt(Doubt.BASIS_HASH_WRONG, statement.name, name)


def _check_withdrawal(statement: Statement, last: Statement | None, decision: Decision, findings: Findings) -> None:
    """A withdrawal repeats what it withdraws, and gives the reason that the facts give."""
    if last is None:
        return
    wanted = decision.recommendation
    standing = [(entry["source"], entry["id"]) for entry in last.data["basis"]]
    reason = decision.blocked_by[0] if wanted is None else foundation_lost(standing, decision)
    if reason is None:
        findings.doubt(Doubt.WITHDRAWAL_WRONG, statement.name, "nothing that it rested on was lost")
    expected = {**last.data, "state": "withdrawn", "reason": reason}
    differing = sorted(name for name in expected if expected[name] != statement.data.get(name))
    if reason is not None and differing:
        findings.doubt(Doubt.WITHDRAWAL_WRONG, statement.name, ", ".join(differing))
