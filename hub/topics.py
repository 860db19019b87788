"""The exchange's topics in Kafka: their names, ids and settings.

aiokafka knows no topic ids, so this goes through kafka-python's administration client, in a thread.
A topic that was deleted and made anew has another id: its offsets mean other records, and nothing may go on with them.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

RETENTION_MS = 48 * 3_600_000
SEGMENT_MS = 12 * 3_600_000
COMPACTION_LAG_MS_MAX = 12 * 3_600_000
MESSAGE_BYTES_MAX = 1_048_576
REPLICAS_WANTED = 3
ADMIN_TIMEOUT_MS = 10_000
PROBE_TIMEOUT_S = 5.0
INPUT_PREFIX = "from."
COMPACTED_TOPICS = frozenset({"recommendations"})
UNKNOWN_TOPIC_CODE = 3

# The library reports every reconnection at INFO; what matters here is said by the hub itself.
logging.getLogger("kafka").setLevel(logging.ERROR)


class KafkaUnreachable(Exception):
    """The brokers did not answer an administrative request."""


class TopicChanged(Exception):
    """A topic was re-created, or has other partitions than the registry says: the hub must not go on."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers know it. `id` is the broker's own, new at every creation."""

    name: str
    id: str
    partitions: int


def _probe(bootstrap: str) -> None:
    """Raise KafkaUnreachable unless one of the addresses takes a connection.

    The library takes its whole time-out to find that out, and leaves its sockets open then.
    """
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        with contextlib.suppress(OSError, ValueError):
            socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S).close()
            return
    raise KafkaUnreachable(f"Kafka at {bootstrap} did not answer (nothing listens there).")


@contextlib.contextmanager
def _administration(bootstrap: str) -> Iterator[Any]:
    """Give an administration client; every failure of Kafka becomes KafkaUnreachable."""
    _probe(bootstrap)
    client = None
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            request_timeout_ms=ADMIN_TIMEOUT_MS,
            bootstrap_timeout_ms=ADMIN_TIMEOUT_MS,
        )
        yield client
    except (KafkaError, OSError) as error:
        raise KafkaUnreachable(f"Kafka at {bootstrap} did not answer ({type(error).__name__}).") from error
    finally:
        if client is not None:
            client.close()


def _describe(bootstrap: str, prefix: str, names: Sequence[str]) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    with _administration(bootstrap) as client:
        for found in client.describe_topics([prefix + name for name in names]) if names else ():
            if found["error_code"] == UNKNOWN_TOPIC_CODE:
                continue
            if found["error_code"]:
                raise for_code(found["error_code"])()
            name = found["name"].removeprefix(prefix)
            topics[name] = Topic(name, str(found["topic_id"]), len(found["partitions"]))
    return topics


async def describe(bootstrap: str, prefix: str, names: Sequence[str]) -> dict[str, Topic]:
    """Return those of the logical topics `names` that exist. Raises KafkaUnreachable."""
    return await asyncio.to_thread(_describe, bootstrap, prefix, names)


def write_settings(topic: str, replicas: int) -> dict[str, str]:
    """Return the settings with which `topic` is created on `replicas` brokers."""
    settings = {
        # A megabyte of a sender's making can inflate to gigabytes, which every reader would have to hold. So brokers
        # store what senders write uncompressed: they refuse what is then larger than `max.message.bytes`.
        "compression.type": "uncompressed" if topic.startswith(INPUT_PREFIX) else "producer",
        # A sender must not choose the time by which its own message expires.
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, replicas - 1)),
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        "segment.ms": str(SEGMENT_MS),
        "unclean.leader.election.enable": "false",
    }
    if topic in COMPACTED_TOPICS:
        return settings | {"cleanup.policy": "compact", "max.compaction.lag.ms": str(COMPACTION_LAG_MS_MAX)}
    return settings | {"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS)}


def _create(bootstrap: str, prefix: str, wanted: Mapping[str, int]) -> list[str]:
    created = []
    existing = _describe(bootstrap, prefix, list(wanted))
    with _administration(bootstrap) as client:
        replicas = min(REPLICAS_WANTED, len(client.describe_cluster()["brokers"]))
        for name in sorted(wanted.keys() - existing.keys()):
            topic = NewTopic(prefix + name, wanted[name], replicas, topic_configs=write_settings(name, replicas))
            # Another operator may have been quicker: then the topic is there, which is all that was asked.
            with contextlib.suppress(TopicAlreadyExistsError):
                client.create_topics([topic], wait_for_metadata=True)
                created.append(name)
    check_partitions(_describe(bootstrap, prefix, list(wanted)), wanted)
    return created


async def create(bootstrap: str, prefix: str, wanted: Mapping[str, int]) -> list[str]:
    """Create those of `wanted` (logical name -> partitions) that do not exist; return their names.

    Raises KafkaUnreachable; TopicChanged if one exists with another number of partitions.
    """
    return await asyncio.to_thread(_create, bootstrap, prefix, wanted)


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
