"""The plan for Kafka, by values: what a registry grants, and what is done to brokers that know something else."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from hub.transport import (
    HUB_PRINCIPALS,
    QUOTA,
    Acl,
    Found,
    Plan,
    TopicState,
    Wanted,
    make_plan,
    write_settings,
    write_wanted,
)
from tests.contracts.root_world import write_registry
from tests.hub.world import World

ROOT = PrivateKey.generate("Ed25519")
WORLD = World()
ISSUED, WITHDRAWN = (f"id.tka.hub.recommendation.{what}.v1" for what in ("issued", "withdrawn"))


def read(**changes: Any) -> Registry:
    """Return World's registry with what is changed in its bank."""
    document = WORLD.document()
    document["participants"][1] |= changes
    return Registry.read(write_registry(document, ROOT), ROOT.public)


def rights_of(name: str, wanted: Wanted) -> set[tuple[str, str, str]]:
    return {(acl.operation, acl.resource, acl.name) for acl in wanted.acls if acl.principal == f"User:{name}"}


def carry_out(plan: Plan, found: Found) -> Found:
    """Return what brokers know after a plan, as they would do it."""
    topics = dict(found.topics) | dict(plan.created)
    for topic, settings in plan.altered.items():
        topics[topic] = topics[topic]._replace(settings=dict(topics[topic].settings) | dict(settings))
    quotas = {user: dict(values) for user, values in found.quotas.items()}
    for user, values in plan.limits.items():
        changed: Mapping[str, float | None] = quotas.get(user, {}) | dict(values)
        quotas[user] = {name: value for name, value in changed.items() if value is not None}
    acls = None if found.acls is None else (found.acls - set(plan.revoked)) | set(plan.granted)
    return Found(found.brokers, topics, acls, quotas)


EMPTY = Found(brokers=3, topics={}, acls=frozenset(), quotas={})
WANTED = write_wanted(read(), "x-")


def test_a_participant_speaks_on_one_topic_and_hears_on_its_own() -> None:
    own = {("write", "topic", "x-from.bri"), ("read", "topic", "x-to.bri"), ("read", "group", "x-to.bri")}
    assert rights_of("bri", WANTED) == own
    assert WANTED.quotas == {"bri": QUOTA, "immigration": QUOTA}


@pytest.mark.parametrize("types", [[ISSUED, WITHDRAWN], [ISSUED], []], ids=len)
def test_recommendations_are_open_to_whom_all_of_them_are_granted(types: list[str]) -> None:
    wanted = write_wanted(read(subscribes=[{"type": each, "filter": {}} for each in types]), "")
    assert (("read", "topic", "recommendations") in rights_of("bri", wanted)) is (len(types) == 2)


def test_who_hears_of_one_office_does_not_read_them_all() -> None:
    part = [{"type": each, "filter": {"kanim": ["Kanim A"]}} for each in (ISSUED, WITHDRAWN)]
    assert ("read", "topic", "recommendations") not in rights_of("bri", write_wanted(read(subscribes=part), ""))


def test_who_has_no_key_left_says_nothing_more() -> None:
    revoked = [WORLD.key(WORLD.bank, revoked_at=WORLD.key(WORLD.bank)["nbf"]), WORLD.key(WORLD.bank_api, "api")]
    wanted = write_wanted(read(keys=revoked), "")
    assert rights_of("bri", wanted) == {("read", "topic", "to.bri"), ("read", "group", "to.bri")}


def test_who_neither_speaks_nor_hears_has_no_right_and_no_quota() -> None:
    wanted = write_wanted(read(publishes=[], subscribes=[]), "")
    assert rights_of("bri", wanted) == set()
    assert "bri" not in wanted.quotas


def test_no_participant_can_have_the_name_of_a_process_of_the_hub() -> None:
    document = WORLD.document()
    for name in HUB_PRINCIPALS:
        document["participants"][1]["id"] = name
        with pytest.raises(Exception, match="participants"):
            write_registry(document, ROOT)


def test_the_hub_s_processes_share_no_writing() -> None:
    writers = {acl.principal for acl in WANTED.acls if acl.operation == "write" and acl.name == "x-to.bri"}
    assert writers == {"User:hub.relay", "User:hub.run"}
    assert all(operation == "read" for operation, _, _ in rights_of("hub.intake", WANTED))
    assert {operation for operation, _, _ in rights_of("hub.doctor", WANTED)} == {"describe", "describe_configs"}


def test_nothing_is_granted_by_wildcard_or_prefix() -> None:
    assert {(acl.pattern, acl.permission, acl.host) for acl in WANTED.acls} == {("literal", "allow", "*")}
    assert not [acl for acl in WANTED.acls if "*" in acl.name]


def test_a_topic_that_is_there_keeps_its_replicas_and_gets_its_settings() -> None:
    settings = write_settings("to.bri", 2) | {"retention.ms": "1", "flush.ms": "7"}
    plan = make_plan(WANTED, Found(3, {"x-to.bri": TopicState(1, 2, settings)}, frozenset(), {}))
    assert plan.altered == {"x-to.bri": {"retention.ms": "172800000"}}
    assert plan.created["x-from.bri"] == TopicState(2, 3, write_settings("from.bri", 3))
    assert "x-to.bri" not in plan.created


def test_a_topic_must_not_forget_by_its_size() -> None:
    settings = write_settings("from.bri", 3) | {"retention.bytes": "1"}
    plan = make_plan(WANTED, Found(3, {"x-from.bri": TopicState(2, 3, settings)}, frozenset(), {}))
    assert plan.altered == {"x-from.bri": {"retention.bytes": "-1"}}


def test_another_number_of_partitions_is_told_and_not_touched() -> None:
    plan = make_plan(WANTED, Found(1, {"x-from.bri": TopicState(3, 1, write_settings("from.bri", 1))}, None, {}))
    assert plan.conflicts == (
        "Topic from.bri has 3 partitions, the registry says 2: the number of partitions is fixed for a topic's life.",
    )
    assert "x-from.bri" not in plan.created


def test_without_an_authorizer_there_are_only_topics() -> None:
    plan = make_plan(WANTED, Found(1, {}, None, {}))
    assert {step.verb for step in plan.list_steps()} == {"create"}


@pytest.mark.parametrize(
    "surplus",
    [
        Acl("User:bri", "topic", "x-to.immigration", "read"),
        Acl("User:bri", "topic", "*", "read"),
        Acl("User:bri", "topic", "x", "read", pattern="prefixed"),
        Acl("User:bri", "cluster", "kafka-cluster", "alter"),
        Acl("User:bri", "topic", "x-from.bri", "write", host="10.0.0.1"),
        Acl("User:hub.intake", "topic", "x-to.bri", "write"),
        Acl("User:bri", "user", "User:hub.relay", "create_tokens"),
        Acl("User:bri", "delegation_token", "a-token", "describe"),
    ],
    ids=str,
)
def test_what_an_own_party_has_beyond_the_registry_is_taken_away(surplus: Acl) -> None:
    found = carry_out(make_plan(WANTED, EMPTY), EMPTY)
    assert found.acls is not None
    plan = make_plan(WANTED, Found(3, found.topics, found.acls | {surplus}, found.quotas))
    assert (plan.revoked, plan.granted, plan.foreign) == ((surplus,), (), ())


@pytest.mark.parametrize(
    ("foreign", "told"),
    [
        (Acl("User:mallory", "topic", "x-from.bri", "write"), True),
        (Acl("User:mallory", "topic", "*", "read"), True),
        (Acl("User:mallory", "topic", "x-", "read", pattern="prefixed"), True),
        (Acl("User:mallory", "group", "x-hub-intake", "read"), True),
        (Acl("User:mallory", "cluster", "kafka-cluster", "alter"), True),
        (Acl("User:mallory", "user", "User:hub.relay", "create_tokens"), True),
        (Acl("User:mallory", "user", "User:hub.admin", "create_tokens"), True),
        (Acl("User:mallory", "user", "*", "describe_tokens"), True),
        (Acl("User:payroll", "user", "User:payroll.clerk", "create_tokens"), False),
        (Acl("User:mallory", "delegation_token", "a-token", "describe"), True),
        (Acl("User:bri", "topic", "x-to.bri", "read", permission="deny"), True),
        (Acl("User:monitor", "cluster", "kafka-cluster", "describe"), False),
        (Acl("User:payroll", "topic", "salaries", "write"), False),
        (Acl("User:bri", "topic", "y-from.bri", "write"), False),
    ],
    ids=str,
)
def test_what_others_have_is_left_alone_and_told_if_it_touches_the_exchange(foreign: Acl, told: bool) -> None:
    found = carry_out(make_plan(WANTED, EMPTY), EMPTY)
    assert found.acls is not None
    plan = make_plan(WANTED, Found(3, found.topics, found.acls | {foreign}, found.quotas))
    assert list(plan.list_steps()) == []
    assert plan.foreign == ((str(foreign),) if told else ())


principals = st.sampled_from(["User:bri", "User:immigration", "User:hub.relay", "User:mallory", "User:hub.admin"])
names = st.sampled_from(["x-from.bri", "x-to.bri", "x-recommendations", "x-", "x", "*", "y-from.bri", "payroll"])
acls = st.builds(
    Acl,
    principals,
    st.sampled_from(["topic", "group", "transactional_id", "cluster"]),
    names,
    st.sampled_from(["read", "write", "all", "alter", "describe"]),
    st.sampled_from(["literal", "prefixed"]),
    st.sampled_from(["allow", "deny"]),
)
states = st.builds(
    lambda partitions, replicas, settings: TopicState(partitions, replicas, settings),
    st.integers(1, 3),
    st.integers(1, 3),
    st.dictionaries(st.sampled_from(["retention.ms", "flush.ms", "cleanup.policy"]), st.sampled_from(["1", "delete"])),
)
founds = st.builds(
    Found,
    st.integers(1, 5),
    st.dictionaries(st.sampled_from(sorted(WANTED.topics)), states),
    st.frozensets(acls | st.sampled_from(sorted(WANTED.acls))),
    st.dictionaries(
        st.sampled_from(["bri", "immigration", "hub", "mallory"]),
        st.dictionaries(st.sampled_from(["producer_byte_rate", "controller_mutation_rate"]), st.floats(1, 1e9)),
    ),
)


@given(founds)
def test_once_carried_out_a_plan_leaves_nothing_to_do_and_others_as_they_were(found: Found) -> None:
    plan = make_plan(WANTED, found)
    after = carry_out(plan, found)
    again = make_plan(WANTED, after)
    assert list(again.list_steps()) == []
    assert (again.conflicts, again.foreign) == (plan.conflicts, plan.foreign)
    assert found.acls is not None
    assert after.acls is not None
    assert after.acls >= WANTED.acls
    assert {acl for acl in found.acls if acl.principal not in WANTED.own} <= after.acls
    assert found.quotas.get("mallory") == after.quotas.get("mallory")
    assert all(after.topics[topic].partitions == state.partitions for topic, state in found.topics.items())


@given(founds)
def test_after_a_plan_no_own_party_may_do_here_what_the_registry_does_not_grant(found: Found) -> None:
    after = carry_out(make_plan(WANTED, found), found)
    here = {
        acl for acl in after.acls or () if acl.name.startswith("x-") or acl.name == "*" or acl.resource == "cluster"
    }
    assert {acl for acl in here if acl.principal in WANTED.own and acl.permission == "allow"} == WANTED.acls
