"""A message whose original was erased, as far as the fold reads it: the facts of its decision, and nobody's data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.admission import Admitted
from contracts.rules.case import Fact
from contracts.wire.envelope import Envelope
from contracts.wire.record import Record
from contracts.wire.signature import Signature


@dataclass(frozen=True, slots=True)
class ErasedEvent:
    """What is left of an event's data."""

    data: Mapping[str, Any]

    def decision_facts(self) -> Mapping[str, Any]:
        """Return what decisions read."""
        return self.data

    def personal(self) -> None:
        """Return nothing: it was erased."""


def read_erased(row: Mapping[str, Any]) -> Admitted:
    """Read an erased message from its columns and the fact that was kept of it. Raises ValueError."""
    data = {} if row["fact"] is None else dict(Fact.from_json(json.loads(row["fact"])).data)
    time, subject = row["time"], row["subject"]
    envelope = Envelope(
        row["id"], row["source"], row["type"], time, time, subject, "", "", row["sequence"], time, subject, "", None,
        data, row["digest"],
    )  # fmt: skip
    record = Record(row["topic_id"], row["partition"], row["offset"], None, None, (), 0)
    signature = Signature(row["kid"], "", "", row["jws"], row["jws_proof"], None)
    return Admitted(record, envelope, ErasedEvent(data), row["participant"], signature)  # type: ignore[arg-type]
