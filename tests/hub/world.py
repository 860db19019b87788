"""A small exchange for the hub's tests: keys, a registry document, and rows put straight into a database."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from contracts.registry import Registry
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey
from hub.store import registry as registry_store
from hub.store.database import Database
from tests.contracts.root_world import write_registry

EVENT = b'{"specversion":"1.0","note":"the relay reads no value, it only signs it"}'


class World:
    """An exchange's keys and its registry document; `root` signs, `hub` is the hub's message key."""

    def __init__(self, topics: dict[str, int] | None = None, *, proof_required: bool = False) -> None:
        self.now = datetime.now(UTC)
        self.root = PrivateKey.generate("ES256")
        self.hub = PrivateKey.generate("Ed25519")
        self.bank = PrivateKey.generate("Ed25519")
        self.bank_api = PrivateKey.generate("ES256")
        self.immigration_api = PrivateKey.generate("Ed25519")
        self.topics = topics or {"from.bri": 2, "to.bri": 1, "to.immigration": 1, "recommendations": 1}
        self.proof_required = proof_required

    def key(self, key: PrivateKey, use: str = "message", **others: Any) -> dict[str, Any]:
        """Return a key's entry in the registry, in force for a day around now."""
        day = timedelta(days=1)
        entry = {"kid": key.kid, "alg": key.alg, "use": use, "jwk": key.public.jwk, "revoked_at": None}
        return entry | {"nbf": write_instant(self.now - day), "exp": write_instant(self.now + day)} | others

    def participants(self) -> list[dict[str, Any]]:
        """Return the hub, a bank and Immigration."""
        issued = {"type": "id.tka.hub.recommendation.issued.v1", "filter": {}}
        nothing: dict[str, Any] = {"bank_code": None, "sources": [], "publishes": [], "subscribes": []}
        return [
            nothing | {"id": "hub", "kind": "hub", "name": "Hub", "keys": [self.key(self.hub)]}
            | {"sources": ["https://hub.example/tka"]},
            nothing | {"id": "bri", "kind": "bank", "name": "Bank", "bank_code": "002"}
            | {"keys": [self.key(self.bank), self.key(self.bank_api, "api")], "sources": ["https://bri.example/tka"]}
            | {"publishes": ["id.tka.bank.payment.received.v1"]},
            nothing | {"id": "immigration", "kind": "immigration", "name": "Immigration"}
            | {"keys": [self.key(self.immigration_api, "api")], "subscribes": [issued]},
        ]  # fmt: skip

    def document(self, version: int = 1, **others: Any) -> dict[str, Any]:
        """Return a registry document of this exchange."""
        limits = {
            "expiry_days_max": 90,
            "clock_skew_s": 300,
            "deferral_s": 600,
            "unmatched_s": 86_400,
            "heartbeat_s": 30,
        }
        return {
            "format": "tkahub-registry/1",
            "environment": "demo",
            "version": version,
            "issued_at": write_instant(self.now),
            "log_origin": "hub.example/demo",
            "proof_required": self.proof_required,
            "limits": limits,
            "topics": self.topics,
            "participants": self.participants(),
            "rule_sets": [],
            "contracts": [],
        } | others

    async def put_in_force(self, database: Database, document: dict[str, Any] | None = None) -> Registry:
        """Write the document, signed, into the database as the registry in force."""
        jws = write_registry(document or self.document(), self.root)
        registry = Registry.read(jws, self.root.public)
        async with database.transaction() as connection:
            head = await registry_store.lock_log(connection)
            await registry_store.add_registry(connection, registry.version, jws.decode(), head.next_index, self.now)
            head = head._replace(origin=registry.log_origin)
            await registry_store.append_leaves(connection, head, [b"{}"], registry.version)
        return registry


async def fill_outbox(
    dsn: str,
    topic: str,
    partition: int,
    count: int,
    *,
    typ: str = "event",
    forward_from: int | None = None,
    leaves_from: int | None = None,
) -> None:
    """Append `count` messages to a stream: the hub's own events, or forwards of inbox rows from that log index on.

    `leaves_from`: recommendations whose leaves stand from that index on.
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            last = await connection.fetchval(
                "INSERT INTO streams VALUES ($1, $2, $3 + 1) ON CONFLICT (topic, partition) "
                "DO UPDATE SET next_seq = streams.next_seq + $3 RETURNING next_seq - 1",
                topic,
                partition,
                count,
            )
            now = datetime.now(UTC)
            rows = [
                (
                    seq,
                    now,
                    None if forward_from is None else forward_from + place,
                    partition,
                    topic,
                    f"KEY-{seq}",
                    typ,
                    EVENT[:-1] + b',"seq":%d}' % seq if forward_from is None else None,
                    None if leaves_from is None else leaves_from + place,
                )
                for place, seq in enumerate(range(last - count + 1, last + 1))
            ]
            columns = ("seq", "created_at", "inbox_index", "partition", "topic", "key", "typ", "value", "leaf_index")
            await connection.copy_records_to_table("outbox", records=rows, columns=columns)
        await connection.execute("NOTIFY outbox")
    finally:
        await connection.close()


async def fill_inbox(dsn: str, first: int, values: list[bytes], jws: str, proofs: list[str] | None = None) -> None:
    """Put accepted messages into the inbox, at log indices from `first` on."""
    now = datetime.now(UTC)
    fixed = (now, now, now, 0, "T", "https://bri.example/tka", "t", "bri", "kid", "S", jws)
    indices = range(first, first + len(values))
    no_proofs: list[str | None] = [None] * len(values)
    rows = [
        (*fixed, index, index, index, f"id-{index}", uuid.uuid4().bytes, hashlib.sha256(value).digest(), value, proof)
        for index, value, proof in zip(indices, values, proofs or no_proofs, strict=True)
    ]
    columns = (
        *("time", "append_time", "received_at", "partition", "topic_id", "source", "type", "participant", "kid"),
        *("subject", "jws", "log_index", "sequence", "offset", "id", "identity", "digest", "value", "jws_proof"),
    )
    connection = await asyncpg.connect(dsn)
    try:
        await connection.copy_records_to_table("inbox", records=rows, columns=columns)
    finally:
        await connection.close()
