"""Each participant, hub process and stranger against each topic, group, transactional id and the cluster: only what is
granted works. On a real broker with certificates, an authorizer and nothing allowed by default.

What is expected stands here by hand, and does not come from the planner that is tried.
"""

import asyncio
import socket
import ssl
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from connectors.link.broker import Broker
from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from devstack.certificates import Authority
from devstack.kafka import Kafka
from hub import administration
from hub.cluster import Cluster
from hub.transport import QUOTA, Acl, Plan, Wanted, make_plan, write_wanted
from tests.contracts.root_world import write_registry
from tests.hub.intruder import CLUSTER_TRIALS, GROUP_TRIALS, TOPIC_TRIALS, TRANSACTION_TRIALS, open_intruder
from tests.hub.world import World

PREFIX = "demo-"
PARTIES = ("ministry", "bri", "mandiri", "immigration")
# Each is granted the register of its own regency, which comes on its own topic.
OFFICES = ("disnaker-3171", "disnaker-3174")
FOREIGN = "payroll"
OFFSETS = "__consumer_offsets"
ISSUED, WITHDRAWN = (f"id.tka.hub.recommendation.{what}.v1" for what in ("issued", "withdrawn"))
INPUTS, OUTPUTS = [f"from.{party}" for party in PARTIES], [f"to.{party}" for party in (*PARTIES, *OFFICES)]
TOPICS = [*INPUTS, *OUTPUTS, "recommendations"]
READS, WRITES = {"read", "describe"}, {"write", "describe"}
LOOKS = {"describe", "describe_configs"}

TOPICS_OF: dict[str, dict[str, set[str]]] = {
    "ministry": {"from.ministry": WRITES, "to.ministry": READS, "recommendations": READS},
    "bri": {"from.bri": WRITES, "to.bri": READS},
    # Its only key is revoked: it says nothing more, and may still hear.
    "mandiri": {"to.mandiri": READS},
    # Its registry entry grants it the recommendations of one office: they come on its own topic.
    "immigration": {"from.immigration": WRITES, "to.immigration": READS},
    **{name: {f"to.{name}": READS} for name in OFFICES},
    "kpk": {},
    "hub": {},
    "hub.intake": dict.fromkeys(INPUTS, READS),
    "hub.relay": dict.fromkeys((*OUTPUTS, "recommendations"), READS | WRITES),
    "hub.run": dict.fromkeys(INPUTS, READS) | dict.fromkeys((*OUTPUTS, "recommendations"), READS | WRITES),
    "hub.doctor": dict.fromkeys(TOPICS, LOOKS),
    "stranger": {},
    "hub.admin": {topic: set(TOPIC_TRIALS) for topic in (*TOPICS, FOREIGN, OFFSETS)},
}
GROUPS = ["hub-intake", "hub-relay", *OUTPUTS, "audit"]
GROUPS_OF: dict[str, dict[str, set[str]]] = {
    **{party: {f"to.{party}": READS} for party in (*PARTIES, *OFFICES)},
    "hub.intake": {"hub-intake": READS},
    "hub.relay": {"hub-relay": READS},
    "hub.run": {"hub-intake": READS, "hub-relay": READS},
    "hub.doctor": {"hub-intake": {"describe"}, "hub-relay": {"describe"}},
    "hub.admin": {group: set(GROUP_TRIALS) for group in GROUPS},
}
TRANSACTIONAL_IDS = ["to.bri-relay", "recommendations-relay", "from.bri-relay", "bri"]
TRANSACTIONAL_IDS_OF: dict[str, dict[str, set[str]]] = {
    **{name: dict.fromkeys(TRANSACTIONAL_IDS[:2], WRITES) for name in ("hub.relay", "hub.run")},
    "hub.admin": {each: set(TRANSACTION_TRIALS) for each in TRANSACTIONAL_IDS},
}
# Whoever may write to any topic may number its messages there.
NUMBERS = {"write idempotently"}
CLUSTER_OF: dict[str, set[str]] = {
    **dict.fromkeys(("ministry", "bri", "immigration", "hub.relay", "hub.run"), NUMBERS),
    "hub.doctor": {"look at the disks", "read rights", "read quotas"},
    "hub.admin": set(CLUSTER_TRIALS),
}


def write_document() -> dict[str, Any]:
    """Return a registry in which every kind of grant and of lack occurs."""
    world, revoked = World(dict.fromkeys(TOPICS, 1)), PrivateKey.generate("Ed25519")
    keys = {party: PrivateKey.generate("Ed25519") for party in PARTIES}
    grants: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
        "ministry": (["id.tka.ministry.permit.approved.v1"], [{"type": t, "filter": {}} for t in (ISSUED, WITHDRAWN)]),
        "bri": (["id.tka.bank.payment.received.v1"], []),
        "mandiri": (["id.tka.bank.payment.received.v1"], []),
        "immigration": (
            ["id.tka.immigration.visa.approved.v1"],
            [{"type": t, "filter": {"kanim": ["Kanim A"]}} for t in (ISSUED, WITHDRAWN)],
        ),
    }
    kinds = {"bri": "bank", "mandiri": "bank"}
    parties: list[dict[str, Any]] = [
        {"id": party, "kind": kinds.get(party, party), "name": party, "bank_code": None, "sources": []}
        | {"publishes": publishes, "subscribes": subscribes}
        | {"keys": [world.key(revoked if party == "mandiri" else keys[party])]}
        for party, (publishes, subscribes) in grants.items()
    ]
    parties[2]["keys"][0]["revoked_at"] = parties[2]["keys"][0]["nbf"]
    registered = [f"id.tka.hub.register.{what}.v1" for what in ("entered", "left")]
    parties += [
        {"id": name, "kind": "labour_office", "name": name, "bank_code": None, "sources": [], "keys": []}
        | {"publishes": [], "subscribes": [{"type": t, "filter": {"regency": [name[-4:]]}} for t in registered]}
        for name in OFFICES
    ]
    silent: list[dict[str, Any]] = [
        {"id": name, "kind": kind, "name": name, "bank_code": None, "sources": [], "keys": []}
        | {"publishes": [], "subscribes": []}
        for name, kind in (("kpk", "oversight"), ("hub", "hub"))
    ]
    return world.document(participants=parties + silent)


def read(document: dict[str, Any]) -> Registry:
    """Return the registry of a document, under a root of the moment."""
    root = PrivateKey.generate("Ed25519")
    return Registry.read(write_registry(document, root), root.public)


def cluster_of(kafka: Kafka, name: str) -> Cluster:
    """Return the cluster as the principal `name` reaches it."""
    return Cluster(kafka.bootstrap, PREFIX, kafka.options(name)["ssl_context"])


def compare(cluster: Cluster, wanted: Wanted) -> Plan:
    """Return what the brokers lack."""
    return make_plan(wanted, administration.find(cluster, wanted))


@pytest.fixture(scope="module")
def secured(secured_kafka: Kafka) -> Kafka:
    """Give a broker on which the registry has been applied, beside a topic that is another's."""
    secured_kafka.create_topics({FOREIGN: 1})
    admin, wanted = cluster_of(secured_kafka, "hub.admin"), write_wanted(read(write_document()), PREFIX)
    administration.carry_out(admin, wanted, compare(admin, wanted))
    # A first group makes brokers create the topic in which groups keep their offsets.
    with open_intruder(secured_kafka, "hub.admin") as administrator:
        administrator.begin_group("first")
    return secured_kafka


def physical(name: str) -> str:
    return name if name in (FOREIGN, OFFSETS) else PREFIX + name


@pytest.mark.parametrize("principal", TOPICS_OF)
def test_only_what_is_granted_works(secured: Kafka, principal: str) -> None:
    topics = [*TOPICS, FOREIGN, OFFSETS]
    with open_intruder(secured, principal) as intruder:
        by_topic: dict[str, set[str]] = {topic: set() for topic in topics}
        for operation in TOPIC_TRIALS:
            passed = intruder.try_topics(operation, [physical(topic) for topic in topics])
            assert len(passed) == len(topics)
            for topic in topics:
                by_topic[topic] |= {operation} if passed[physical(topic)] else set()
        by_group = {
            group: {operation for operation in GROUP_TRIALS if intruder.try_group(operation, PREFIX + group)}
            for group in GROUPS
        }
        by_transactional_id = {
            each: {
                operation for operation in TRANSACTION_TRIALS if intruder.try_transactional_id(operation, PREFIX + each)
            }
            for each in TRANSACTIONAL_IDS
        }
        on_cluster = {operation for operation in CLUSTER_TRIALS if intruder.try_cluster(operation)}
    assert {topic: passed for topic, passed in by_topic.items() if passed} == TOPICS_OF[principal]
    assert {group: passed for group, passed in by_group.items() if passed} == GROUPS_OF.get(principal, {})
    passed_ids = {each: passed for each, passed in by_transactional_id.items() if passed}
    assert passed_ids == TRANSACTIONAL_IDS_OF.get(principal, {})
    assert on_cluster == CLUSTER_OF.get(principal, set())


def test_a_second_run_has_nothing_to_do(secured: Kafka) -> None:
    admin, wanted = cluster_of(secured, "hub.admin"), write_wanted(read(write_document()), PREFIX)
    assert compare(admin, wanted) == Plan()


def test_the_broker_reports_the_quotas(secured: Kafka) -> None:
    found = administration.find(cluster_of(secured, "hub.admin"), write_wanted(read(write_document()), PREFIX))
    assert found.quotas == dict.fromkeys((*PARTIES, *OFFICES), QUOTA)


def test_the_doctor_s_certificate_is_enough_to_look_and_not_to_change(secured: Kafka) -> None:
    doctor, wanted = cluster_of(secured, "hub.doctor"), write_wanted(read(write_document()), PREFIX)
    assert compare(doctor, wanted) == Plan()
    forged = Plan(granted=(Acl("User:hub.doctor", "topic", f"{PREFIX}from.bri", "write"),))
    with pytest.raises(administration.KafkaForbidden, match="administration"):
        administration.carry_out(doctor, wanted, forged)


def test_what_a_participant_loses_in_the_registry_it_loses_in_kafka(secured: Kafka) -> None:
    admin, document = cluster_of(secured, "hub.admin"), write_document()
    before = write_wanted(read(document), PREFIX)
    document["participants"][1]["publishes"] = []
    after = write_wanted(read(document), PREFIX)
    assert administration.carry_out(admin, after, compare(admin, after)) == Plan()
    with open_intruder(secured, "bri") as bri:
        assert bri.try_topics("write", [f"{PREFIX}from.bri", f"{PREFIX}to.bri"]) == {
            f"{PREFIX}from.bri": False,
            f"{PREFIX}to.bri": False,
        }
    assert "bri" not in administration.find(admin, after).quotas
    assert administration.carry_out(admin, before, compare(admin, before)) == Plan()
    with open_intruder(secured, "bri") as bri:
        assert bri.try_topics("write", [f"{PREFIX}from.bri"]) == {f"{PREFIX}from.bri": True}


def test_what_was_changed_by_hand_is_put_right_or_told(secured: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, wanted = cluster_of(secured, "hub.admin"), write_wanted(read(write_document()), PREFIX)
    surplus = Acl("User:bri", "topic", "*", "read")
    another_s = Acl("User:auditor", "topic", f"{PREFIX}from.bri", "read")
    denial = Acl("User:bri", "topic", f"{PREFIX}to.bri", "read", permission="deny")
    by_hand = Plan(
        granted=(surplus, another_s, denial),
        altered={f"{PREFIX}from.bri": {"retention.ms": "1000"}},
        limits={"bri": {"producer_byte_rate": 1e12}},
    )
    # What was changed by hand never becomes what is wanted.
    monkeypatch.setattr(administration, "SETTLE_TIMEOUT_S", 0.5)
    left = administration.carry_out(admin, replace(wanted, acls=wanted.acls | set(by_hand.granted)), by_hand)
    assert {step.verb for step in left.list_steps()} == {"alter", "limit"}
    found = compare(admin, wanted)
    assert found.revoked == (surplus,)
    assert found.altered == {f"{PREFIX}from.bri": {"retention.ms": "172800000"}}
    assert found.limits == {"bri": {"producer_byte_rate": QUOTA["producer_byte_rate"]}}
    assert found.foreign == (str(another_s), str(denial))
    mended = administration.carry_out(admin, wanted, found)
    assert list(mended.list_steps()) == []
    assert mended.foreign == found.foreign
    administration.carry_out(admin, wanted, Plan(revoked=(another_s, denial)))


def shake_hands(address: str, context: ssl.SSLContext | None) -> bytes:
    """Ask the broker for its versions, and return what it answers; nothing where it hangs up."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        plain if context is None else context.wrap_socket(plain, server_hostname=host) as opened,
    ):
        # ApiVersions, version 0, which brokers answer before they look at anybody's rights.
        opened.sendall(bytes.fromhex("0000000a0012000000000001ffff"))
        return opened.recv(16)


def test_without_a_certificate_of_the_authority_nobody_is_answered(secured: Kafka, tmp_path: Any) -> None:
    assert secured.authority is not None
    known = secured.authority.certify("hub.admin").open_context()
    assert shake_hands(secured.bootstrap, known)
    without = ssl.create_default_context(cafile=secured.authority.certificate)
    of_another = Authority(tmp_path).certify("hub.admin").open_context()
    of_another.load_verify_locations(secured.authority.certificate)
    for context in (without, of_another):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            assert shake_hands(secured.bootstrap, context)
    # In plain text the broker takes the request for a broken handshake.
    assert shake_hands(secured.bootstrap, None)[:1] in (b"", b"\x15")


def test_a_broker_of_another_authority_is_not_believed(secured: Kafka, tmp_path: Any) -> None:
    fooled = Cluster(secured.bootstrap, PREFIX, Authority(tmp_path).certify("hub.relay").open_context())
    with pytest.raises(administration.KafkaUnreachable, match="certificate of the authority"):
        compare(fooled, write_wanted(read(write_document()), PREFIX))


async def test_a_connector_says_and_hears_what_is_its_own_and_nothing_else(secured: Kafka) -> None:
    tls = (await asyncio.to_thread(cluster_of, secured, "immigration")).tls
    broker = Broker(secured.bootstrap, PREFIX, "connector-immigration", tls)
    assert await broker.partitions(["from.immigration", "to.immigration", "to.bri"]) == {
        "from.immigration": 1,
        "to.immigration": 1,
    }
    assert (await broker.ends("to.immigration")).keys() == {0}
    producer = broker.producer()
    await producer.start()
    try:
        await producer.send_and_wait(broker.physical("from.immigration"), b"its own", partition=0)
        for topic in ("to.immigration", "from.bri"):
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(broker.physical(topic), b"another's", partition=0)
    finally:
        await producer.stop()
