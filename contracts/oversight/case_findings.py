"""The findings that one file shows by itself: numbers 1, 3 to 8, and 11 as far as a class is concerned.

Dossier --judge_case--> leads, and when time alone may show another
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from contracts.oversight import lead as names
from contracts.oversight.dossier import (
    ACKNOWLEDGED,
    COMPLETED,
    DECIDED,
    DEFICIENT,
    ISSUED,
    RESUBMITTED,
    VISA_APPROVED,
    VISA_REFUSED,
    VISA_REVOKED,
    WITHDRAWN,
    Dossier,
    application_date,
)
from contracts.oversight.lead import Lead, Rules, drop_implied
from contracts.rules import reasons
from contracts.rules.case import APPROVED, DECISIVE, EXEMPTED, PAYMENTS, RECEIVED, SUBMITTED, Fact, fold
from contracts.rules.clock import (
    CalendarError,
    add_banking_days,
    add_working_days,
    banking_day_of,
    end_of_day,
    jakarta_day,
)
from contracts.rules.decide import Decision, decide
from contracts.rules.rulebook import FindingRule, RuleSet

COUNTED = frozenset(("matched", "partial", "excess", "late"))
UNSETTLED = frozenset(
    (
        reasons.PAYMENT_MISSING, reasons.PAYMENT_PARTIAL, reasons.PAYMENT_REVERSED, reasons.BILL_MISSING,
        reasons.BILL_EXPIRED, reasons.BILL_CANCELLED, reasons.BILL_BELOW_DUE, reasons.EXEMPTION_UNKNOWN,
    )
)  # fmt: skip


class Judged(NamedTuple):
    """The leads of a file as of a moment, and the next moment at which time alone may show another."""

    leads: list[Lead]
    wakes_at: datetime | None


class _File:
    """A dossier under judgement."""

    def __init__(self, dossier: Dossier, rules: Rules, rule_set: RuleSet, now: datetime) -> None:
        self.dossier = dossier
        self.rules = rules
        self.rule_set = rule_set
        self.now = now
        self.wakes: list[datetime] = []

    @cached_property
    def decision(self) -> Decision:
        """What all facts come to now."""
        return decide(self.dossier.state, self.rules.book, self.now)

    @cached_property
    def stands(self) -> list[tuple[Fact, Fact | None]]:
        """Each recommendation that was issued, and its withdrawal."""
        withdrawn = {fact.data["revision"]: fact for fact in self.dossier.of(WITHDRAWN)}
        return [(fact, withdrawn.get(fact.data["revision"])) for fact in self.dossier.of(ISSUED)]

    def passed(self, deadline: datetime) -> bool:
        """Whether a deadline has passed; if not, it is when to look again."""
        if deadline < self.now:
            return True
        self.wakes.append(deadline + timedelta(microseconds=1))
        return False

    def raise_lead(
        self, finding: str, since: datetime, facts: Iterable[Fact], denominator: int, counted: str, detail: str = ""
    ) -> Lead:
        """A lead about this file: one of so many of its own things of this kind."""
        indices = tuple(sorted({fact.log_index for fact in facts}))
        subject = self.dossier.subject
        return Lead(finding, subject, (subject,), since, indices, 1, denominator, counted, self.rule_set.name, detail)


def judge_case(dossier: Dossier, rules: Rules, now: datetime) -> Judged:
    """Judge one file as of a moment: a pure function of its facts, whatever their order."""
    rule_set = dossier.rule_set(rules.book)
    if rule_set is None:
        # A recommendation without any submission before it is the most unfounded of all.
        newest = next(iter(rules.book), None)
        if newest is None or not dossier.of(ISSUED):
            return Judged([], None)
        rule_set = newest
    file = _File(dossier, rules, rule_set, now)
    leads: list[Lead] = []
    for name, judge in _JUDGES.items():
        rule = rule_set.findings.get(name)
        if rule is not None:
            try:
                leads += judge(file, rule)
            except CalendarError:
                # No holidays are decreed for the year, so that nothing can be said to be late yet.
                continue
    return Judged(drop_implied(leads, rules), min(file.wakes, default=None))


def _unfounded(file: _File, rule: FindingRule) -> Iterator[Lead]:
    decisive = [fact for fact in file.dossier.facts if fact.type in DECISIVE]
    issued = file.dossier.of(ISSUED)
    for recommendation in issued:
        index = recommendation.log_index
        before = [fact for fact in decisive if fact.log_index < index]
        if len(before) == len(decisive) and file.rules.book_at(index) is file.rules.book:
            decision = file.decision
        else:
            decision = decide(fold(before), file.rules.book_at(index), recommendation.time)
        if decision.recommendation is None:
            detail = ", ".join(decision.blocked_by)
            yield file.raise_lead(
                names.UNFOUNDED_RECOMMENDATION, recommendation.time, [recommendation, *before], len(issued),
                "recommendations", detail,
            )  # fmt: skip
            return


def _phantom(file: _File, rule: FindingRule) -> Iterator[Lead]:
    state, outcomes = file.dossier.state, file.decision.outcomes
    for code in state.bills:
        counted = file.decision.tallies[code]
        for money in counted.standing:
            report = money.primary
            if len(money.reports) > 1 or report.type != RECEIVED:
                continue
            if outcomes.get((report.source, report.id)) not in COUNTED:
                continue
            deadline = _after_banking_days(report.time, rule.thresholds["bank_days"])
            if file.passed(deadline):
                yield file.raise_lead(
                    names.PHANTOM_PAYMENT, deadline, [report], len(counted.standing), "payments", "not booked"
                )
                return
    stood = timedelta(minutes=rule.thresholds["stood_minutes"])
    for issued, withdrawn in file.stands:
        rested = {(entry["source"], entry["id"]) for entry in issued.data["basis"] if entry["role"] == "payment"}
        for key, payments in state.payments.items():
            gone = [one for one in payments if (one.source, one.id) in rested]
            gone = [one for one in gone if outcomes.get((one.source, one.id)) == "reversed"]
            for reversal in file.decision.tallies[key].taken_back if gone else ():
                stands = withdrawn is None or withdrawn.time >= reversal.time
                if reversal.time >= issued.time + stood and stands:
                    facts = [issued, reversal, *gone]
                    yield file.raise_lead(
                        names.PHANTOM_PAYMENT, reversal.time, facts, len(rested), "payments", "reversed"
                    )
                    return


def _approved_unpaid(file: _File, rule: FindingRule) -> Iterator[Lead]:
    approved = file.dossier.first(APPROVED)
    if approved is None or "settled" not in file.rule_set.recommendation_needs:
        return
    wanted = file.decision.recommendation
    if wanted is not None:
        times = {(fact.source, fact.id): fact.time for fact in file.dossier.of(*PAYMENTS)}
        if all(times[basis.source, basis.id] <= approved.time for basis in wanted.basis if basis.role == "payment"):
            return
    # Banks have their days to report, so that what arrives late is not taken for unpaid.
    if not file.passed(_after_banking_days(approved.time, rule.thresholds["report_bank_days"])):
        return
    before = [fact for fact in file.dossier.facts if fact.type in DECISIVE and fact.time <= approved.time]
    unsettled = UNSETTLED.intersection(decide(fold(before), file.rules.book, approved.time).blocked_by)
    if unsettled:
        detail = ", ".join(sorted(unsettled))
        yield file.raise_lead(names.APPROVED_UNPAID, approved.time, before, 1, "approvals", detail)


def _visa_unsupported(file: _File, rule: FindingRule) -> Iterator[Lead]:
    visas = file.dossier.of(VISA_APPROVED)
    for visa in visas:
        in_force = any(
            issued.time <= visa.time and (withdrawn is None or withdrawn.time > visa.time)
            for issued, withdrawn in file.stands
        )
        if not in_force:
            facts = [visa, *(one for pair in file.stands for one in pair if one is not None)]
            yield file.raise_lead(names.VISA_UNSUPPORTED, visa.time, facts, len(visas), "visas")
            return


def _withdrawal_ignored(file: _File, rule: FindingRule) -> Iterator[Lead]:
    withdrawals = file.dossier.of(WITHDRAWN)
    for withdrawn in withdrawals:
        visas = file.dossier.of(VISA_APPROVED, VISA_REFUSED, VISA_REVOKED)
        earlier = [one for one in visas if one.time <= withdrawn.time]
        if not earlier or earlier[-1].type != VISA_APPROVED:
            continue
        again = next((one.time for one in file.dossier.of(ISSUED) if one.time >= withdrawn.time), None)
        decided = next((one for one in visas if one.time > withdrawn.time), None)
        heard = next((one for one in file.dossier.of(ACKNOWLEDGED) if one.time > withdrawn.time), decided)
        for member, answer in (("acknowledgement_working_days", heard), ("decision_working_days", decided)):
            deadline = _after_working_days(withdrawn.time, rule.thresholds[member])
            if again is not None and again <= deadline:
                break
            if (answer is None or answer.time > deadline) and file.passed(deadline):
                facts = [earlier[-1], withdrawn, *(one for one in (heard, decided) if one is not None)]
                detail = member.removesuffix("_working_days")
                yield file.raise_lead(
                    names.WITHDRAWAL_IGNORED, deadline, facts, len(withdrawals), "withdrawals", detail
                )
                return


def _silent(file: _File, rule: FindingRule) -> Iterator[Lead]:
    submitted = file.dossier.submitted
    if submitted is None:
        return
    word = file.dossier.first(DEFICIENT, COMPLETED, *DECIDED)
    deadline = _after_working_days(submitted.time, rule.thresholds["working_days"])
    if (word is None or word.time > deadline) and file.passed(deadline):
        facts = [submitted] if word is None else [submitted, word]
        yield file.raise_lead(names.SILENT_FILE, deadline, facts, 1, "files")


def _serial_deficiencies(file: _File, rule: FindingRule) -> Iterator[Lead]:
    notices = file.dossier.of(DEFICIENT)
    if len(notices) < rule.thresholds["notices"]:
        return
    held: dict[str, str] = {}
    at_first: dict[str, str] = {}
    first: Fact | None = None
    for fact in file.dossier.of(SUBMITTED, RESUBMITTED, DEFICIENT):
        if fact.type != DEFICIENT:
            held |= {document["code"]: document["sha256"] for document in fact.data["documents"]}
        elif first is None:
            first, at_first = fact, dict(held)
        else:
            cited = {missing["document"] for missing in fact.data["missing"]}
            same = sorted(name for name in cited if name in at_first and at_first[name] == held[name])
            if same:
                detail = ", ".join(same)
                yield file.raise_lead(
                    names.SERIAL_DEFICIENCIES, fact.time, [first, fact], len(notices), "notices", detail
                )
                return


def _unknown_exemption(file: _File, rule: FindingRule) -> Iterator[Lead]:
    submitted, exemptions = file.dossier.submitted, file.dossier.of(EXEMPTED)
    for exempted in exemptions if submitted is not None else ():
        known = file.rule_set.exemptions.get(exempted.data["class"])
        if known is None or not known.stands_on(application_date(submitted)):  # type: ignore[arg-type]
            name = exempted.data["class"]
            yield file.raise_lead(
                names.EXEMPTION_ANOMALY, exempted.time, [exempted], len(exemptions), "exemptions", name
            )
            return


def _after_working_days(moment: datetime, days: int) -> datetime:
    return end_of_day(add_working_days(jakarta_day(moment), days))


def _after_banking_days(moment: datetime, days: int) -> datetime:
    first: date = banking_day_of(jakarta_day(moment))
    return end_of_day(add_banking_days(first, days))


_JUDGES: dict[str, Callable[[_File, FindingRule], Iterator[Lead]]] = {
    names.UNFOUNDED_RECOMMENDATION: _unfounded,
    names.PHANTOM_PAYMENT: _phantom,
    names.APPROVED_UNPAID: _approved_unpaid,
    names.VISA_UNSUPPORTED: _visa_unsupported,
    names.WITHDRAWAL_IGNORED: _withdrawal_ignored,
    names.SILENT_FILE: _silent,
    names.SERIAL_DEFICIENCIES: _serial_deficiencies,
    names.EXEMPTION_ANOMALY: _unknown_exemption,
}
