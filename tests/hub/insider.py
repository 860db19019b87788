"""What an insider does who holds the hub's key and its database: a recommendation written past the hub.

The row, its leaf and its signature are true ones. Nothing that it could rest on was ever said.
"""

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import Any

from contracts.fields import write_digest
from contracts.log import entry
from contracts.wire.envelope import write_envelope
from contracts.wire.signature import TYP_RECOMMENDATION, sign_single
from hub.store.database import Connection
from tests.contracts.samples import SAMPLES
from tests.hub.exchange import NONCE, Exchange

ISSUED = "id.tka.hub.recommendation.issued.v1"
SUBMITTED = "id.tka.ministry.permit.submitted.v1"


async def write_past_the_hub(exchange: Exchange, application: str, at: datetime) -> None:
    """Recommend an application that was submitted and never approved."""
    async with exchange.database.transaction() as tx:
        row = await tx.fetchrow(
            "SELECT source, id, type, digest, log_index FROM inbox WHERE subject = $1 AND type = $2",
            application, SUBMITTED,
        )  # fmt: skip
        assert row is not None
        submitted = {name: row[name] for name in ("source", "id", "type", "log_index")}
        basis = [{"role": "submission", **submitted, "sha256": write_digest(row["digest"])}]
        data = SAMPLES[ISSUED] | {"application": application, "basis": basis}
        index = await tx.fetchval("UPDATE log SET next_index = next_index + 1 RETURNING next_index - 1")
        seq = await tx.fetchval(
            "INSERT INTO streams VALUES ('recommendations', 0, 2) ON CONFLICT (topic, partition) "
            "DO UPDATE SET next_seq = streams.next_seq + 1 RETURNING next_seq - 1"
        )
        await _write(tx, exchange, data, at, index, seq)


async def _write(tx: Connection, exchange: Exchange, data: dict[str, Any], at: datetime, index: int, seq: int) -> None:
    application, identity = data["application"], str(uuid.uuid4())
    attributes: dict[str, Any] = {
        "id": identity, "source": "https://hub.example/tka", "type": ISSUED, "time": at, "recordedtime": at,
        "subject": application, "audience": "demo/recommendations/0", "sequence": seq,
        "expirytime": at + timedelta(days=1), "correlationid": application, "nonce": NONCE,
    }  # fmt: skip
    value = write_envelope(attributes, data)
    leaf = entry.recommendation(
        id=identity, case=application, number=data["number"], revision=1, state="issued",
        digest=hashlib.sha256(value).digest(),
    )  # fmt: skip
    await tx.execute("INSERT INTO leaves VALUES ($1, $2)", index, leaf)
    await tx.execute(
        "INSERT INTO outbox (seq, created_at, leaf_index, partition, topic, key, typ, value) "
        "VALUES ($1, $2, $3, 0, 'recommendations', $4, 'recommendation', $5)",
        seq, at, index, application, value,
    )  # fmt: skip
    jws = sign_single(value, exchange.hub, TYP_RECOMMENDATION)
    await tx.execute(
        "INSERT INTO outbox_signature (seq, partition, topic, jws) VALUES ($1, 0, 'recommendations', $2)", seq, jws
    )
