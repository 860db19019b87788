"""A message that the hub sends back: the agency tells its fact again, and it is signed anew, naming the refused one."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.link.fact import NewEvent, ReceiptEntry
from connectors.link.spool import Spool
from connectors.ministry.translate import (
    CORRECTION_KIND,
    NativeRow,
    Untranslatable,
    correction_of,
    translate_row,
)
from contracts.events.hub import CorrectionRequested
from contracts.wire.envelope import Envelope, read_envelope
from tests.connectors.parties import AUTHOR, payment
from tests.contracts.samples import SAMPLES

pytestmark = pytest.mark.anyio
NOTE = "The amount needs two decimals"
ASKED = "id.tka.hub.correction.requested.v1"


def other(event: NewEvent, amount: str) -> NewEvent:
    """The same fact with another amount."""
    return replace(event, data={**event.data, "amount": amount})


async def refuse(spool: Spool, message: Envelope, log_index: int = 7) -> None:
    """Let the hub refuse a message and ask to correct it."""
    await spool.settle([ReceiptEntry(message.id, message.digest, log_index, "bill_conflict")])
    await spool.ask_correction(message.id, "bill_conflict", NOTE, log_index)


async def messages(spool: Spool) -> list[Envelope]:
    return [read_envelope(row.value) for row in await spool.waiting(100)]


async def test_the_same_fact_with_other_content_corrects_what_was_sent_back(tmp_path: Path) -> None:
    wrong = payment(1)
    right = other(wrong, "1300.00")
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put([wrong])
        (first,) = await messages(spool)
        assert [put.outcome for put in await spool.put([right])] == ["conflict"]
        await refuse(spool, first)
        assert [(one.event_id, one.note) for one in await spool.corrections(10)] == [(first.id, NOTE)]
        assert [put.outcome for put in await spool.put([wrong, right, right])] == ["again", "new", "again"]
        (second,) = await messages(spool)
        assert (second.causationid, second.sequence) == (first.id, first.sequence + 1)
        assert second.id != first.id
        assert (first.data["amount"], second.data["amount"]) == (wrong.data["amount"], "1300.00")
        assert await spool.corrections(10) == []
        # The correction stands; a third content is a conflict until it is refused and sent back too.
        assert [put.outcome for put in await spool.put([other(wrong, "1400.00")])] == ["conflict"]
        await refuse(spool, second, 9)
        assert [put.outcome for put in await spool.put([other(wrong, "1400.00")])] == ["new"]
        assert (await messages(spool))[-1].causationid == second.id


async def test_what_is_accepted_after_all_is_corrected_by_nobody(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put([payment(1)])
        (first,) = await messages(spool)
        await refuse(spool, first)
        await spool.settle([ReceiptEntry(first.id, first.digest, 12)])
        assert await spool.corrections(10) == []
        assert [put.outcome for put in await spool.put([other(payment(1), "1300.00")])] == ["conflict"]


def test_the_ministry_is_asked_for_a_row_and_its_new_row_names_the_refused_message() -> None:
    asked = CorrectionRequested.model_validate(SAMPLES[ASKED] | {"id": "e-2"})
    outcome = correction_of("h-1", asked, None)
    assert (outcome.kind, outcome.payload["id"], outcome.payload["note"]) == (CORRECTION_KIND, "e-2", asked.note)
    row = NativeRow("outbox/9", datetime(2026, 11, 24, tzinfo=UTC), "KODE_BAYAR_HANGUS", "B.3/1", {"kode_billing": "1"})
    assert translate_row(row).causationid is None
    assert translate_row(replace(row, payload={**row.payload, "memperbaiki": "e-2"})).causationid == "e-2"
    for odd in (5, "", "x" * 65, "e 2"):
        with pytest.raises(Untranslatable):
            translate_row(replace(row, payload={**row.payload, "memperbaiki": odd}))
