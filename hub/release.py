"""What may leave the hub, and under which signature. The relay alone uses the hub's key."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from contracts.wire.signature import (
    BATCH_SIZE_MAX,
    CONTENT_TYPE,
    NO_PREVIOUS_ROOT,
    TYP_EVENT,
    TYP_RECOMMENDATION,
    root_of,
    sign_batch,
    sign_single,
)
from hub import failpoint
from hub.clock import utc_now
from hub.store import outbox
from hub.store.outbox import OutboxRow, StoredSignature

if TYPE_CHECKING:
    from hub.store.database import Connection


class KeyNotOurs(Exception):
    """The registry does not list the hub's private key as a key that the hub may sign events with."""


def write_headers(row: OutboxRow) -> list[tuple[str, bytes]]:
    """Return the record headers of a signed row."""
    if row.jws is None:
        raise ValueError("An unsigned message cannot be sent.")
    headers = [("content-type", CONTENT_TYPE), ("jws", row.jws.encode())]
    if row.proof is not None:
        headers.append(("jws-proof", row.proof.encode()))
    headers.append(("hub-seq", b"%d" % row.seq))
    return headers


def hold_back(rows: list[OutboxRow], *, proof_required: bool) -> tuple[list[OutboxRow], str | None]:
    """Return the rows that may be sent now, and why the first of the others may not.

    With `proof_required` a recommendation leaves only with the proof that it is in the evidence log. The stream keeps
    its order, so whatever stands behind such a recommendation waits with it.
    """
    if not proof_required:
        return rows, None
    for place, row in enumerate(rows):
        if row.typ == "recommendation":
            return rows[:place], (
                f"the recommendation at hub-seq {row.seq} has no proof from the evidence log, "
                "and the registry requires one"
            )
    return rows, None


class Signer:
    """Signs the hub's own events, and keeps to what was signed before."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self._registry: Registry | None = None
        self._issuer = ""
        self._last_roots: dict[tuple[str, int], bytes] = {}

    @property
    def registry(self) -> Registry:
        """The registry that this signer was last checked against."""
        if self._registry is None:
            raise RuntimeError("The signer was asked before it was shown a registry.")
        return self._registry

    def use(self, registry: Registry) -> None:
        """Take `registry` as the one in force. Raises KeyNotOurs if it does not let the hub sign with this key."""
        if registry is self._registry:
            return
        found = registry.key(self._key.kid)
        if found is None or found[0].kind != "hub" or found[1].use != "message" or found[1].revoked_at is not None:
            raise KeyNotOurs(
                f"The registry (version {registry.version}) does not list the key in HUB_KEY_FILE "
                f"(kid {self._key.kid}) as a message key of the hub that is in force."
            )
        self._registry = registry
        self._issuer = min(found[0].sources)

    async def sign_rows(
        self, connection: "Connection", topic: str, partition: int, rows: list[OutboxRow]
    ) -> list[OutboxRow]:
        """Return `rows` with a signature each; the new ones are stored first, and what was stored earlier counts."""
        unsigned = [row for row in rows if row.jws is None]
        if not unsigned:
            return rows
        stream = topic, partition
        if stream not in self._last_roots:
            last = await outbox.read_last_batch(connection, topic, partition)
            self._last_roots[stream] = NO_PREVIOUS_ROOT if last is None else root_of(last)
        failpoint.reach("relay.before_signature")
        fresh = list(self._sign(topic, partition, unsigned))
        stored = await outbox.store_signatures(connection, topic, partition, fresh)
        failpoint.reach("relay.after_signature")
        return [
            row if row.jws is not None else row._replace(jws=stored[row.seq].jws, proof=stored[row.seq].proof)
            for row in rows
        ]

    def _sign(self, topic: str, partition: int, rows: Sequence[OutboxRow]) -> Iterator[StoredSignature]:
        for row in rows:
            if row.typ == "recommendation":
                yield StoredSignature(row.seq, sign_single(row.value, self._key, TYP_RECOMMENDATION), None)
        events = iter([row for row in rows if row.typ != "recommendation"])
        while batch := list(islice(events, BATCH_SIZE_MAX)):
            yield from self._sign_together(topic, partition, batch)

    def _sign_together(self, topic: str, partition: int, batch: list[OutboxRow]) -> Iterator[StoredSignature]:
        if len(batch) == 1:
            yield StoredSignature(batch[0].seq, sign_single(batch[0].value, self._key, TYP_EVENT), None)
            return
        jws, proofs = sign_batch(
            [row.value for row in batch],
            self._key,
            iss=self._issuer,
            aud=f"{self.registry.environment}/{topic}/{partition}",
            first=batch[0].seq,
            last=batch[-1].seq,
            prev=self._last_roots[topic, partition],
            iat=utc_now(),
        )
        self._last_roots[topic, partition] = root_of(jws)
        for row, proof in zip(batch, proofs, strict=True):
            yield StoredSignature(row.seq, jws, proof)
