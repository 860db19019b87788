"""What the brokers must know of the exchange, from the signed registry alone, and what of it is missing. Pure.

A participant's principal is the common name in its certificate, and that is its id in the registry. The hub's own
processes have principals with a dot, which no participant's id can have. Nobody is granted more than this:

    participant   write from.<id> if it publishes and has a key that is not revoked; read to.<id>, with the consumer
                  group of that name; read `recommendations` if the registry grants it all of them
    hub.intake    read every from.*, in its group
    hub.relay     write every output topic in transactions, and keep its position there
    hub.run       both, for `hub run`, which is all parts in one process
    hub.doctor    look at everything that is listed here, and at no record

The administration's principal is a super user by the brokers' own settings; no grant here names it. What other
principals are granted is never touched, only told. A denial is never touched: it takes away, and nobody here made it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from contracts.registry import RECOMMENDATIONS, Participant, Registry

INTAKE, RELAY, WHOLE, DOCTOR, ADMINISTRATION = "hub.intake", "hub.relay", "hub.run", "hub.doctor", "hub.admin"
HUB_PRINCIPALS = frozenset((INTAKE, RELAY, WHOLE, DOCTOR))
INTAKE_GROUP, RELAY_GROUP = "hub-intake", "hub-relay"
PRINCIPAL_TYPE = "User:"
RECOMMENDATION_TYPES = frozenset(f"id.tka.hub.recommendation.{what}.v1" for what in ("issued", "withdrawn"))

RETENTION_MS = 48 * 3_600_000
SEGMENT_MS = 12 * 3_600_000
COMPACTION_LAG_MS_MAX = 12 * 3_600_000
MESSAGE_BYTES_MAX = 1_048_576
REPLICAS_WANTED = 3
INPUT_PREFIX = "from."
OUTPUT_PREFIX = "to."
COMPACTED_TOPICS = frozenset({RECOMMENDATIONS})

# Of each broker. Some four thousand messages a second are far more than any agency has, and far less than one broker
# does: a participant that runs wild slows itself down, not the others.
QUOTA = {
    "producer_byte_rate": 4.0 * 1024**2,
    # Catching up after a day's absence must not take another.
    "consumer_byte_rate": 16.0 * 1024**2,
    # Percent of one request thread.
    "request_percentage": 100.0,
}

ANY_NAME = "*"
# Who makes or reads a token acts under another's name, whosever it is. No party of an exchange needs one.
TOKENS = frozenset({"user", "delegation_token"})
# What a foreign principal may do to the cluster without touching the exchange.
HARMLESS_ON_CLUSTER = frozenset({"describe", "describe_configs", "idempotent_write"})


class Acl(NamedTuple):
    """One entry of the brokers' access control list, in their own words."""

    principal: str
    resource: str
    name: str
    operation: str
    pattern: str = "literal"
    permission: str = "allow"
    host: str = "*"

    def __str__(self) -> str:
        pattern = "" if self.pattern == "literal" else f" ({self.pattern})"
        host = "" if self.host == "*" else f" from {self.host}"
        verb = "may" if self.permission == "allow" else "must not"
        return f"{self.principal} {verb} {self.operation} {self.resource} {self.name}{pattern}{host}"


class TopicState(NamedTuple):
    """A topic as it is: partitions, replicas of each, and its settings."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What the brokers know. `acls` is None where they have no authorizer: then everybody may do everything."""

    brokers: int
    topics: Mapping[str, TopicState]
    acls: frozenset[Acl] | None
    quotas: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What they must know, under the names that the cluster uses. `own`: all principals that are the exchange's."""

    prefix: str
    topics: Mapping[str, int]
    acls: frozenset[Acl]
    quotas: Mapping[str, Mapping[str, float]]
    own: frozenset[str]


class Step(NamedTuple):
    """One line of a plan."""

    verb: str
    what: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What must be done, and what was seen that is not this plan's to change.

    `limits` holds a quota's values by principal, None for one that is to go. `conflicts` nothing here can mend.
    """

    created: Mapping[str, TopicState] = field(default_factory=dict)
    altered: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    granted: tuple[Acl, ...] = ()
    revoked: tuple[Acl, ...] = ()
    limits: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    def list_steps(self) -> Iterator[Step]:
        """Yield what is done, in the order in which it is done: rights are taken before any are given."""
        yield from (Step("revoke", str(acl)) for acl in self.revoked)
        for topic, state in self.created.items():
            yield Step(
                "create", f"topic {topic} with {state.partitions} partition{'s' if state.partitions > 1 else ''}"
            )
        for topic, settings in self.altered.items():
            yield Step("alter", f"topic {topic}: {_write(settings)}")
        yield from (Step("grant", str(acl)) for acl in self.granted)
        for user, values in self.limits.items():
            yield Step("limit", f"{PRINCIPAL_TYPE}{user}: {_write(values)}")


def _write(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_number(value)}" for name, value in sorted(values.items()))


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value)


def write_settings(topic: str, replicas: int) -> dict[str, str]:
    """Return the settings of the logical `topic` on `replicas` brokers."""
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
    # By time alone: what somebody else has to read does not go because somebody wrote much.
    return settings | {"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS), "retention.bytes": "-1"}


def is_output(topic: str) -> bool:
    """Whether only the hub writes this logical topic."""
    return topic == RECOMMENDATIONS or topic.startswith(OUTPUT_PREFIX)


def name_transactional_id(physical: str) -> str:
    """Return the transactional id of whichever relay writes the topic `physical`."""
    return f"{physical}-relay"


def write_wanted(registry: Registry, prefix: str) -> Wanted:
    """Return what the brokers must know so that the parties of `registry` can do what it grants, and nothing else."""
    parties = registry.participants.values()
    granted = frozenset(
        chain(
            chain.from_iterable(_grants_of(party, registry, prefix) for party in parties),
            _grants_of_hub(registry, prefix),
        )
    )
    acting = {acl.principal.removeprefix(PRINCIPAL_TYPE) for acl in granted}
    return Wanted(
        prefix=prefix,
        topics={prefix + topic: partitions for topic, partitions in registry.topics.items()},
        acls=granted,
        quotas={party.id: QUOTA for party in parties if party.id in acting},
        own=frozenset(PRINCIPAL_TYPE + name for name in HUB_PRINCIPALS | registry.participants.keys()),
    )


def _grants_of(party: Participant, registry: Registry, prefix: str) -> Iterator[Acl]:
    principal = PRINCIPAL_TYPE + party.id
    own_input, own_output = INPUT_PREFIX + party.id, OUTPUT_PREFIX + party.id
    can_sign = any(key.use == "message" and key.revoked_at is None for key in party.keys)
    if own_input in registry.topics and party.publishes and can_sign:
        yield Acl(principal, "topic", prefix + own_input, "write")
    # Who publishes reads its receipts there.
    if own_output in registry.topics and (party.publishes or party.subscribes):
        yield Acl(principal, "topic", prefix + own_output, "read")
        yield Acl(principal, "group", prefix + own_output, "read")
        if RECOMMENDATIONS in registry.topics and _hears_all(party):
            yield Acl(principal, "topic", prefix + RECOMMENDATIONS, "read")


def _hears_all(party: Participant) -> bool:
    """Whether the topic of all recommendations is open to it: a filter grants a part, which comes on its own topic."""
    whole = {each.type for each in party.subscribes if each.filter.kanim is None and each.filter.regency is None}
    return whole >= RECOMMENDATION_TYPES


def _grants_of_hub(registry: Registry, prefix: str) -> Iterator[Acl]:
    inputs = [prefix + topic for topic in registry.topics if topic.startswith(INPUT_PREFIX)]
    outputs = [prefix + topic for topic in registry.topics if is_output(topic)]
    for name in (INTAKE, WHOLE):
        principal = PRINCIPAL_TYPE + name
        yield from (Acl(principal, "topic", topic, "read") for topic in inputs)
        yield Acl(principal, "group", prefix + INTAKE_GROUP, "read")
    for name in (RELAY, WHOLE):
        principal = PRINCIPAL_TYPE + name
        # The position is kept in Kafka, in the transaction: to commit an offset of a topic is to read it.
        yield from (Acl(principal, "topic", topic, operation) for topic in outputs for operation in ("read", "write"))
        yield from (Acl(principal, "transactional_id", name_transactional_id(topic), "write") for topic in outputs)
        yield Acl(principal, "group", prefix + RELAY_GROUP, "read")
    principal = PRINCIPAL_TYPE + DOCTOR
    for topic in (*inputs, *outputs):
        yield from (Acl(principal, "topic", topic, operation) for operation in ("describe", "describe_configs"))
    yield from (Acl(principal, "group", prefix + group, "describe") for group in (INTAKE_GROUP, RELAY_GROUP))
    yield from (Acl(principal, "cluster", "kafka-cluster", each) for each in ("describe", "describe_configs"))


def make_plan(wanted: Wanted, found: Found) -> Plan:
    """Return what makes the brokers know what is wanted. Of what is found already nothing is planned."""
    created, altered, conflicts = _plan_topics(wanted, found)
    acls = found.acls if found.acls is not None else wanted.acls
    owned = {acl for acl in acls if _is_owned(acl, wanted)}
    return Plan(
        created=created,
        altered=altered,
        granted=tuple(sorted(wanted.acls - acls)),
        revoked=tuple(sorted(owned - wanted.acls)),
        # Without an authorizer nobody has a name, and a quota of a name binds nobody.
        limits={} if found.acls is None else _plan_limits(wanted, found),
        conflicts=conflicts,
        foreign=tuple(map(str, sorted(acl for acl in acls - owned - wanted.acls if _reaches(acl, wanted)))),
    )


def _plan_topics(
    wanted: Wanted, found: Found
) -> tuple[dict[str, TopicState], dict[str, dict[str, str]], tuple[str, ...]]:
    replicas = min(REPLICAS_WANTED, found.brokers)
    created: dict[str, TopicState] = {}
    altered: dict[str, dict[str, str]] = {}
    conflicts = []
    for topic, partitions in sorted(wanted.topics.items()):
        logical, state = topic.removeprefix(wanted.prefix), found.topics.get(topic)
        if state is None:
            created[topic] = TopicState(partitions, replicas, write_settings(logical, replicas))
            continue
        if state.partitions != partitions:
            conflicts.append(
                f"Topic {logical} has {state.partitions} partitions, the registry says {partitions}: "
                "the number of partitions is fixed for a topic's life."
            )
        # By its own replicas: a broker that is away today must not lower what a write has to wait for.
        settings = write_settings(logical, state.replicas).items()
        differing = {name: value for name, value in settings if state.settings.get(name) != value}
        if differing:
            altered[topic] = differing
    return created, altered, tuple(conflicts)


def _plan_limits(wanted: Wanted, found: Found) -> dict[str, dict[str, float | None]]:
    limits: dict[str, dict[str, float | None]] = {}
    for principal in sorted(wanted.own):
        user = principal.removeprefix(PRINCIPAL_TYPE)
        want, have = wanted.quotas.get(user, {}), found.quotas.get(user, {})
        changed = {name: want.get(name) for name in QUOTA if want.get(name) != have.get(name)}
        if changed:
            limits[user] = changed
    return limits


def _is_owned(acl: Acl, wanted: Wanted) -> bool:
    """Whether this is a right of one of the exchange's parties that reaches into what this exchange names.

    Another exchange on the same cluster has another prefix, and rights of the same principals of its own.
    """
    if acl.principal not in wanted.own or acl.permission != "allow":
        return False
    if acl.resource in {"cluster", *TOKENS} or acl.name == ANY_NAME or acl.name.startswith(wanted.prefix):
        return True
    return acl.pattern == "prefixed" and wanted.prefix.startswith(acl.name)


def _reaches(acl: Acl, wanted: Wanted) -> bool:
    """Whether this right touches what is the exchange's."""
    if acl.resource == "cluster":
        return acl.operation not in HARMLESS_ON_CLUSTER
    if acl.resource == "delegation_token":
        # Its name does not say whose it is.
        return True
    names = _list_names(acl.resource, wanted)
    if acl.pattern == "prefixed":
        return any(name.startswith(acl.name) for name in names)
    return acl.name in names or (acl.name == ANY_NAME and bool(names))


def _list_names(resource: str, wanted: Wanted) -> frozenset[str]:
    """Return the names of the exchange's resources of a kind; a user is one of its principals."""
    if resource == "topic":
        return frozenset(wanted.topics)
    if resource == "user":
        return wanted.own | {PRINCIPAL_TYPE + ADMINISTRATION}
    return frozenset(own.name for own in wanted.acls if own.resource == resource)
