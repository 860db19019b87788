"""The exchange's topics in Kafka: their ids, and whether they are what they were.

aiokafka knows no topic ids, so this goes through kafka-python's administration client, in a thread.
A topic that was deleted and made anew has another id: its offsets mean other records, and nothing may go on with them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kafka.errors import for_code

from hub.administration import connect
from hub.cluster import Cluster

UNKNOWN_TOPIC_CODE = 3
# Brokers do not tell who has no right to a topic whether there is one.
FORBIDDEN_TOPIC_CODE = 29


class TopicChanged(Exception):
    """A topic was re-created, or has other partitions than the registry says: the hub must not go on."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers know it. `id` is the broker's own, new at every creation."""

    name: str
    id: str
    partitions: int


def _describe(cluster: Cluster, names: Sequence[str]) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    with connect(cluster) as client:
        for found in client.describe_topics([cluster.physical(name) for name in names]) if names else ():
            if found["error_code"] in (UNKNOWN_TOPIC_CODE, FORBIDDEN_TOPIC_CODE):
                continue
            if found["error_code"]:
                raise for_code(found["error_code"])()
            name = found["name"].removeprefix(cluster.prefix)
            topics[name] = Topic(name, str(found["topic_id"]), len(found["partitions"]))
    return topics


async def describe(cluster: Cluster, names: Sequence[str]) -> dict[str, Topic]:
    """Return those of the logical topics `names` that exist and that this process may see. Raises KafkaUnreachable."""
    return await asyncio.to_thread(_describe, cluster, names)


def check_partitions(existing: Mapping[str, Topic], wanted: Mapping[str, int]) -> None:
    """Raise TopicChanged if an existing topic has other partitions than `wanted` says: keys would move."""
    for name, topic in existing.items():
        if topic.partitions != wanted[name]:
            raise TopicChanged(
                f"Topic {name} has {topic.partitions} partitions, the registry says {wanted[name]}: "
                "the number of partitions is fixed for a topic's life."
            )


def check_identity(topic: Topic, known_ids: Sequence[str]) -> None:
    """Raise TopicChanged if records of this topic were once consumed under another id than today's."""
    if any(known != topic.id for known in known_ids):
        raise TopicChanged(
            f"Topic {topic.name} was deleted and created anew (id {topic.id}): its old positions are meaningless. "
            "Create it under a new name and change the registry."
        )
