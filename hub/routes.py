"""Who receives what: from the registry's subscriptions to streams. Pure.

A stream is one partition of one output topic. The hub chooses the partition by the message's key, so that all that is
said of one application or billing code keeps its order.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from contracts.registry import RECOMMENDATIONS, Participant, Registry, Subscription
from hub.difference import CLOSED, EXPLAINED, OPENED
from hub.step import ISSUED, OUTCOME, RECEIPT, REGISTER_ENTERED, REGISTER_LEFT, REPORTED, WITHDRAWN, Event

# What is said of one bank's money is nothing to another bank.
OF_ONE_BANK = frozenset((OUTCOME, OPENED, EXPLAINED, CLOSED, REPORTED))
# What is told of the register is put together for one grantee, whose filter was heeded there: that an entry moved out
# of somebody's regency is told to whom it moved away from.
OF_ONE_GRANTEE = frozenset((REGISTER_ENTERED, REGISTER_LEFT))


class Stream(NamedTuple):
    """One partition of a logical output topic."""

    topic: str
    partition: int


class Routes:
    """The subscriptions of one registry version, ready to be asked for every message."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._by_type: dict[str, tuple[tuple[Participant, Subscription, int], ...]] = {}

    def _receivers(self, event_type: str) -> tuple[tuple[Participant, Subscription, int], ...]:
        """Return who is granted this type and has a stream, with the number of partitions."""
        receivers = self._by_type.get(event_type)
        if receivers is None:
            granted = self._registry.subscribers(event_type)
            receivers = self._by_type[event_type] = tuple(
                (party, subscription, partitions)
                for party, subscription in sorted(granted, key=lambda pair: pair[0].id)
                if (partitions := self._registry.partitions(f"to.{party.id}")) is not None
            )
        return receivers

    def of_original(self, event_type: str, sender: str, key: str, data: Mapping[str, Any]) -> list[Stream]:
        """Return the streams on which an accepted message goes on as it is; never back to its sender."""
        return [
            _stream(f"to.{party.id}", key, partitions)
            for party, subscription, partitions in self._receivers(event_type)
            if party.id != sender and _granted(subscription, data)
        ]

    def of_event(self, event: Event) -> list[Stream]:
        """Return the streams of one of the hub's own events.

        A recommendation's first stream is its home, whose partition and seq its audience and sequence name; the same
        bytes go to every other one. Any other event is made once for each stream.
        """
        streams = [
            _stream(f"to.{party.id}", event.subject, partitions)
            for party, subscription, partitions in self._receivers(event.type)
            if _may_hear(party, event) and (event.type in OF_ONE_GRANTEE or _granted(subscription, event.data))
        ]
        if event.type in (ISSUED, WITHDRAWN):
            home = self._registry.partitions(RECOMMENDATIONS)
            return [] if home is None else [_stream(RECOMMENDATIONS, event.subject, home), *streams]
        return streams

    def of_receipt(self, participant: str) -> Stream | None:
        """Return the stream that carries a participant's receipts, or None if it has no stream."""
        partitions = self._registry.partitions(f"to.{participant}")
        return None if partitions is None else _stream(f"to.{participant}", participant.upper(), partitions)

    def all_outputs(self) -> Iterable[Stream]:
        """Return every stream to a participant."""
        for topic, partitions in sorted(self._registry.topics.items()):
            if topic.startswith("to."):
                for partition in range(partitions):
                    yield Stream(topic, partition)


def _stream(topic: str, key: str, partitions: int) -> Stream:
    return Stream(topic, zlib.crc32(key.encode()) % partitions if partitions > 1 else 0)


def _may_hear(party: Participant, event: Event) -> bool:
    """A bank hears of its own money alone, a grantee of its own part of the register.

    Receipts go to their sender alone and are routed by `of_receipt`.
    """
    if event.type in OF_ONE_GRANTEE:
        return party.id == event.reporter
    if event.type in OF_ONE_BANK and party.kind == "bank":
        return party.id == event.reporter
    return event.type != RECEIPT


def _granted(subscription: Subscription, data: Mapping[str, Any]) -> bool:
    """Whether the subscription's filter lets this event through."""
    kanims, regencies = subscription.filter.kanim, subscription.filter.regency
    if kanims is None and regencies is None:
        return True
    if kanims is not None and data.get("kanim") not in kanims:
        return False
    if regencies is None:
        return True
    places = {place["regency"] for place in data.get("places") or ()} | {data.get("regency")}
    return not places.isdisjoint(regencies)
