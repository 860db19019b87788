"""A record of the hub's streams, verified: bytes in, `Delivered` out. Pure."""

from dataclasses import dataclass

from contracts.events import EventData
from contracts.wire.envelope import Envelope
from contracts.wire.signature import Signature


@dataclass(frozen=True, slots=True)
class Delivered:
    """A verified record of one of this participant's streams.

    `participant` signed it (`hub`, or the issuer of a forward). `(topic, partition, seq)` names it for ever; a second
    delivery has the same. `value` are the signed bytes, `headers` those it came with (jws, jws-proof, tlog-proof).
    """

    topic: str
    partition: int
    seq: int
    participant: str
    envelope: Envelope
    event: EventData
    signature: Signature
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
