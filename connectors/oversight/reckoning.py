"""What the packs of everything come to: dossiers, of which findings and statistics are computed without a hub.

    packs of `hub audit export --all` --verify_pack--> facts --Dossier--> leads, figures

A pack that does not prove what it says is left out and named: nothing is computed from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from contracts.audit.finding import Doubt
from contracts.audit.pack import PACK_BYTES_MAX, Message, Pack, PackMalformed, read_pack
from contracts.audit.verify import Trust, verify_pack
from contracts.errors import Refusal
from contracts.events import read_event
from contracts.log.checkpoint import read_checkpoint
from contracts.log.note import read_note
from contracts.oversight.case_findings import judge_case
from contracts.oversight.dossier import Dossier, fact_of_recommendation
from contracts.oversight.extract import extract
from contracts.oversight.group_findings import judge_all
from contracts.oversight.lead import Lead, Rules
from contracts.oversight.statistics import Row, count_month, observe
from contracts.registry import Registry
from contracts.rules.case import Fact, facts_of
from contracts.rules.rulebook import RuleSet
from contracts.wire.envelope import read_envelope

HUB = "hub"
#: What a recheck may doubt of a recommendation without doubting the messages: the findings are about just that.
ABOUT_THE_DECISION = frozenset((Doubt.NOT_FOUNDED, Doubt.BASIS_DIFFERS, Doubt.BASIS_MISSING, Doubt.PAYMENT_USED_TWICE))


@dataclass(slots=True)
class Reckoning:
    """The dossiers of a folder of packs, the rules they are judged by, and the packs that prove nothing."""

    dossiers: list[Dossier] = field(default_factory=list)
    rule_sets: dict[int, RuleSet] = field(default_factory=dict)
    doubtful: dict[str, list[str]] = field(default_factory=dict)
    log_size: int = 0

    @property
    def rules(self) -> Rules:
        """The rule sets by log index."""
        return Rules(sorted(self.rule_sets.items(), key=lambda one: one[0]))

    def list_leads(self, now: datetime) -> list[Lead]:
        """Every lead as of a moment, in the order of the findings' ids."""
        rules = self.rules
        leads = [lead for dossier in self.dossiers for lead in judge_case(dossier, rules, now).leads]
        known = ((dossier, dossier.rule_set(rules.book)) for dossier in self.dossiers)
        extracts = (extract(dossier, rule_set) for dossier, rule_set in known if rule_set is not None)
        leads += judge_all((one for one in extracts if one is not None), rules)
        return sorted(leads, key=lambda lead: lead.id)

    def count_month(self, month: date, now: datetime) -> list[Row]:
        """Every figure of a month."""
        book = self.rules.book
        seen = (observe(dossier, book, now) for dossier in self.dossiers)
        return count_month([one for one in seen if one is not None], month)


def read_folder(folder: Path, trust: Trust) -> Reckoning:
    """Recheck every pack of a folder and keep what those that hold say."""
    reckoning = Reckoning()
    for file in sorted(folder.glob("*.json")):
        with file.open("rb") as opened:
            raw = opened.read(PACK_BYTES_MAX + 1)
        try:
            pack = read_pack(raw)
        except PackMalformed as error:
            reckoning.doubtful[file.name] = [str(error)]
            continue
        doubts = {finding.code for finding in verify_pack(pack, trust).failures}
        if doubts - ABOUT_THE_DECISION:
            reckoning.doubtful[file.name] = sorted(map(str, doubts))
            continue
        size = read_checkpoint(read_note(pack.checkpoint.encode()).text).size
        reckoning.log_size = max(reckoning.log_size, size)
        reckoning.rule_sets |= {one.index: RuleSet.read(one.document.encode()) for one in pack.rule_sets}
        reckoning.dossiers.append(Dossier(pack.subject, _read_facts(pack, trust)))
    return reckoning


def _read_facts(pack: Pack, trust: Trust) -> Iterator[Fact]:
    """The facts of a pack whose proofs hold; what was erased left its fact, if a decision ever read it."""
    newest = max(pack.registries, key=lambda shown: shown.index)
    registry = Registry.read(newest.document.encode(), trust.root)
    for message in pack.messages:
        fact = _read_message(message, registry)
        if fact is not None:
            yield fact
    for recommended in pack.recommendations:
        yield fact_of_recommendation(read_envelope(recommended.value.encode()), HUB, recommended.index)


def _read_message(message: Message, registry: Registry) -> Fact | None:
    if message.value is None:
        return None if message.fact is None else Fact.from_json(message.fact)._replace(log_index=message.index)
    envelope = read_envelope(message.value.encode())
    owner = registry.owner_of(envelope.source)
    try:
        event = read_event(envelope.type, envelope.data, envelope.subject)
    except Refusal:
        return None
    return None if owner is None else facts_of(envelope, event, owner.id, message.index)
