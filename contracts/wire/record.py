"""One Kafka record, as every door hands it over: nothing in it has been believed yet."""

from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """A record at its place in the log of one partition.

    `topic` is the logical name (without a deployment's prefix). `append_time_ms` is the broker's LogAppendTime in
    milliseconds since the epoch: the only clock by which expiry and key validity are judged, so that a later
    replay comes to the same verdict.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    append_time_ms: int
