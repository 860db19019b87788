"""The pure step: what is told does not depend on the order of messages, on repeats, or on the batches they came in."""

import itertools
import json
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.admission import Admitted, Refused
from contracts.errors import Code
from contracts.events import read_event
from contracts.rules.case import Fact
from contracts.wire.envelope import read_envelope
from contracts.wire.signature import Signature
from hub import step
from hub.seal import derive_id, settle_index
from hub.step import BillingCode, Case, Held, advance, advance_code, gather, keys_for, name_log, sift
from tests.contracts.samples import RULEBOOK
from tests.hub.exchange import APPLICATION, CODE, Bank, Ministry, Sender

LOG = name_log("hub.example/demo")
NOW = datetime.now(UTC)
NOBODY = Held({}, {})


def admitted(sender: Sender, value: bytes) -> Admitted:
    """Return the message as admission would let it through."""
    envelope = read_envelope(value)
    event = read_event(envelope.type, envelope.data, envelope.subject)
    return Admitted(sender.sign(value), envelope, event, sender.participant, Signature("k", "", "", "j", None, None))


class Book:
    """Cases and codes in memory, folded batch by batch as the desk does it."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.codes: dict[str, BillingCode] = {}
        self.events: list[step.Event] = []
        self._next = 0

    def take(self, batch: Sequence[Admitted]) -> step.Gathered:
        case_ids, codes = keys_for(batch)
        for code in codes:
            self.codes.setdefault(code, BillingCode(code, None, [], {}))
            case_ids |= {owner for owner in [self.codes[code].case_id] if owner is not None}
        for case_id in case_ids:
            self.cases.setdefault(case_id, Case(case_id, [], {}, None, {}))
        gathered = gather(batch, self.cases, self.codes)
        for work in gathered.cases.values():
            work.fresh = [self._settle(fact) for fact in work.fresh]
            case = work.joined()
            done = advance(case, RULEBOOK, LOG, NOW)
            case.told, case.standing = done.told, done.standing
            self.cases[case.id] = case
            self.events += done.events
            for row in work.claimed:
                self.codes[row.code] = BillingCode(row.code, case.id, [], {})
        for waiting in gathered.codes.values():
            row = waiting.row
            row.facts = [*row.facts, *(self._settle(fact) for fact in waiting.fresh)]
            done = advance_code(row, row.facts, True, timedelta(days=1), NOW)
            row.told = done.told
            self.events += done.events
        self._next += len(gathered.fresh)
        return gathered

    def _settle(self, fact: Fact) -> Fact:
        return Fact(
            fact.source, fact.id, fact.participant, fact.type, fact.time, fact.sha256,
            settle_index(fact.log_index, self._next), fact.data,
        )  # fmt: skip

    def told(self) -> dict[str, Any]:
        """Return what everybody knows in the end, without the revisions, which do depend on the way there."""
        standing = self.cases[APPLICATION].standing
        return {
            "told": {name: case.told["outcomes"] for name, case in self.cases.items()},
            "paid": {
                name: {code: state for code, state in case.told["bills"].items() if state == "open"}
                for name, case in self.cases.items()
            },
            "claims": {code: row.case_id for code, row in self.codes.items()},
            # Whether something was issued and withdrawn on the way does depend on it.
            "standing": standing["fingerprint"] if standing and standing["state"] == "issued" else None,
        }


def messages(seed: int) -> list[Admitted]:
    """Return one application's whole day: two bills, two banks, several reports, a reversal, perhaps an end."""
    draw = random.Random(seed)
    ministry, bri, mandiri = Ministry(), Bank("bri"), Bank("mandiri")
    second = "820260302000018"
    values: list[tuple[Sender, bytes]] = [
        (ministry, ministry.submitted()),
        (ministry, ministry.billed()),
        (ministry, ministry.approved()),
        (ministry, ministry.billed(code=second)),
        (bri, bri.paid(second)),
        (bri, bri.paid()),
        (bri, bri.booked()),
        (bri, bri.booked("reversed")),
        (mandiri, mandiri.paid()),
        (bri, bri.paid(amount="10.00")),
        (bri, bri.paid(currency="IDR")),
        (bri, bri.booked(code=None)),
    ]
    if draw.random() < 0.3:
        values.append((ministry, ministry.permit("revoked", decision="KEP.18/2026", reason_code="R01")))
    if draw.random() < 0.3:
        values.append((ministry, ministry.approved(name="amended", kanim="BANDUNG")))
    return [admitted(sender, value) for sender, value in draw.sample(values, draw.randint(3, len(values)))]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 6), min_size=15, max_size=15))
def test_the_end_does_not_depend_on_order_or_batches(seed: int, cuts: list[int]) -> None:
    drawn = messages(seed)
    one, other = Book(), Book()
    # The case's own messages only, since without any the case does not exist in one of the two.
    one.cases[APPLICATION] = Case(APPLICATION, [], {}, None, {"outcomes": {}, "bills": {}})
    other.cases[APPLICATION] = Case(APPLICATION, [], {}, None, {"outcomes": {}, "bills": {}})
    one.take(drawn)
    shuffled = random.Random(seed + 1).sample(drawn, len(drawn))
    rest = iter(shuffled)
    for cut in cuts:
        batch = list(itertools.islice(rest, cut))
        if batch:
            other.take(batch)
    assert one.told() == other.told()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_last_outcome_that_was_said_is_the_one_that_stands(seed: int) -> None:
    book = Book()
    for message in messages(seed):
        book.take([message])
    said: dict[str, str] = {}
    for event in book.events:
        if event.type == step.OUTCOME:
            said[" ".join(event.data["payment"].values())] = event.data["outcome"]
    stands = {name: outcome for case in book.cases.values() for name, outcome in case.told["outcomes"].items()}
    stands |= {name: outcome for row in book.codes.values() for name, outcome in row.told.get("outcomes", {}).items()}
    assert said == stands


def test_sift_parts_by_what_the_inbox_holds() -> None:
    ministry = Ministry()
    first, second = (admitted(ministry, ministry.permit("completed")) for _ in range(2))
    identity = (first.envelope.source, first.envelope.id)
    assert sift([first, second], NOBODY).fresh == [first, second]
    sifted = sift([first], Held({identity: (first.envelope.digest, 7)}, {}))
    assert [repeat.log_index for repeat in sifted.repeats] == [7]
    sifted = sift([first], Held({identity: (bytes(32), 7)}, {}))
    assert [refused.code for refused in sifted.unfit] == [Code.EQUIVOCATION]
    sifted = sift([first], Held({}, {(first.envelope.source, first.envelope.sequence): "another"}))
    assert [refused.code for refused in sifted.unfit] == [Code.SEQUENCE_REUSED]
    turned_down = Refused(first.record, Code.DATA_INVALID, "", None, None)
    assert sift([turned_down], NOBODY).unfit == [turned_down]


def test_a_case_that_repeats_itself_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "FACTS_MAX", 3)
    ministry, bri, book = Ministry(), Bank("bri"), Book()
    steps = [admitted(ministry, ministry.permit("completed")) for _ in range(5)]
    assert book.take(steps).unfit == []
    submissions = [admitted(ministry, ministry.submitted()) for _ in range(5)]
    assert [refused.code for refused in book.take(submissions).unfit] == [Code.FACTS_LIMIT] * 2
    payments = [admitted(bri, bri.paid()) for _ in range(4)]
    assert [refused.code for refused in book.take(payments).unfit] == [Code.FACTS_LIMIT]


def test_who_fills_a_case_silences_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "FACTS_MAX", 3)
    ministry, bri, mandiri, book = Ministry(), Bank("bri"), Bank("mandiri"), Book()
    refused = [book.take([admitted(bri, bri.paid(amount="0.01"))]).unfit for _ in range(5)]
    assert [one.code for unfit in refused for one in unfit] == [Code.FACTS_LIMIT] * 2
    said = [(ministry, ministry.submitted()), (ministry, ministry.billed()), (ministry, ministry.approved())]
    for sender, value in (*said, (mandiri, mandiri.paid())):
        assert book.take([admitted(sender, value)]).unfit == []
    assert [one.code for one in book.take([admitted(bri, bri.paid())]).unfit] == [Code.FACTS_LIMIT]
    standing = book.cases[APPLICATION].standing
    assert standing is not None
    assert standing["state"] == "issued"


def rivals() -> list[Admitted]:
    """Return messages of which some exclude others: the same code twice, the same id, the same sequence, too many."""
    ministry, bri = Ministry(), Bank("bri")
    first, second = ministry.billed("A.1"), ministry.billed("A.2")
    again = {"id": json.loads(second)["id"], "sequence": json.loads(second)["sequence"]}
    corrected = {"application": "A.2", "billing_code": "820260302000018", "reason_code": "R01"}
    cancelled = ministry.write("id.tka.ministry.billing.cancelled.v1", corrected, "A.2", **again)
    other_id = ministry.write("id.tka.ministry.billing.cancelled.v1", corrected, "A.2", sequence=again["sequence"])
    values = [(ministry, value) for value in (first, first, second, second, cancelled, cancelled, other_id)]
    return [admitted(sender, value) for sender, value in (*values, (bri, bri.paid("820260302000018")))]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 6), min_size=15, max_size=15))
def test_what_is_accepted_does_not_depend_on_the_batches(seed: int, cuts: list[int]) -> None:
    """The inbox alone remembers: what is refused in a batch must leave no trace for what follows in it."""
    drawn = random.Random(seed).sample(rivals(), 8)
    verdicts = []
    for sizes in (cuts, [1] * len(drawn)):
        book, rest, said = Book(), iter(drawn), []
        digests: dict[tuple[str, str], tuple[bytes, int]] = {}
        sequences: dict[tuple[str, int], str] = {}
        for size in sizes:
            batch = list(itertools.islice(rest, size))
            sifted = sift(batch, Held(dict(digests), dict(sequences)))
            gathered = book.take(sifted.fresh)
            for one in gathered.fresh:
                envelope = one.envelope
                digests[envelope.source, envelope.id] = envelope.digest, 0
                sequences[envelope.source, envelope.sequence] = envelope.id
            came_to = {id(one.record): "accepted" for one in gathered.fresh}
            came_to |= {id(one.admitted.record): "repeat" for one in (*sifted.repeats, *gathered.repeats)}
            came_to |= {id(one.record): str(one.code) for one in (*sifted.unfit, *gathered.unfit)}
            said += [came_to[id(one.record)] for one in batch]
        verdicts.append(said)
    assert verdicts[0] == verdicts[1]


def test_a_fact_is_settled_where_its_message_stands() -> None:
    assert settle_index(step.PROVISIONAL + 3, 100) == 103
    assert settle_index(99, 100) == 99


def test_ids_are_those_of_rfc_9562() -> None:
    name_space = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
    assert derive_id(name_space, "www.example.com") == str(uuid.uuid5(name_space, "www.example.com"))


def test_what_is_told_holds_no_personal_data() -> None:
    ministry, bri, book = Ministry(), Bank("bri"), Book()
    values = [ministry.submitted(), ministry.billed(), ministry.approved()]
    book.take([*(admitted(ministry, value) for value in values), admitted(bri, bri.paid())])
    case = book.cases[APPLICATION]
    stored = json.dumps([case.told, case.standing, [fact.to_json() for fact in case.facts]])
    assert "Yamada" not in stored
    assert "L898902C36" not in stored
    (issued,) = [event for event in book.events if event.type == step.ISSUED]
    assert issued.data["worker"]["name"] == "Taro Yamada"
    assert CODE in case.told["bills"] or case.told["bills"] == {}
