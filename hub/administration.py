"""What the brokers are asked and told through kafka-python's administration client.

The library has no call for client quotas, but it knows their requests. It works in threads of its own, so everything
here blocks: callers use a thread.
"""

import contextlib
import logging
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from cryptography import x509
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    NewTopic,
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    NoError,
    SecurityDisabledError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from kafka.protocol.admin import AlterClientQuotasRequest, DescribeClientQuotasRequest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from hub.cluster import Cluster
from hub.transport import Acl, Found, Plan, TopicState, Wanted, make_plan

ADMIN_TIMEOUT_MS = 10_000
PROBE_TIMEOUT_S = 5.0
# Brokers take a change up once they have read it in their own log, a moment after they confirmed it.
SETTLE_TIMEOUT_S = 10.0
SETTLE_INTERVAL_S = 0.1
USER_ENTITY = "user"
ANY_SPECIFIED_NAME = 2

# The library reports every reconnection at INFO; what matters here is said by the hub itself.
logging.getLogger("kafka").setLevel(logging.ERROR)


class KafkaUnreachable(Exception):
    """The brokers did not answer an administrative request."""


class KafkaForbidden(Exception):
    """The brokers do not let this principal do what it asked for."""


def _probe(cluster: Cluster) -> None:
    """Raise KafkaUnreachable unless one of the addresses takes a connection and is whom the authority says.

    The library takes its whole time-out to find that out, does not tell why, and leaves its sockets open then.
    """
    reason = "nothing listens there"
    for host, port in _addresses(cluster):
        try:
            with socket.create_connection((host, port), PROBE_TIMEOUT_S) as opened:
                if cluster.tls is not None:
                    cluster.tls.wrap_socket(opened, server_hostname=host).close()
                return
        except ssl.SSLError as error:
            reason = f"it does not show a certificate of the authority in KAFKA_SSL_CA_FILE: {error.reason}"
        except OSError:
            continue
    raise KafkaUnreachable(f"Kafka at {cluster.bootstrap} did not answer ({reason}).")


def _addresses(cluster: Cluster) -> Iterator[tuple[str, int]]:
    for address in cluster.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if port.isdecimal():
            yield host.strip("[]"), int(port)


@contextlib.contextmanager
def connect(cluster: Cluster) -> Iterator[Any]:
    """Give an administration client. What Kafka forbids becomes KafkaForbidden, all else KafkaUnreachable."""
    _probe(cluster)
    client = None
    try:
        client = KafkaAdminClient(
            **cluster.options, request_timeout_ms=ADMIN_TIMEOUT_MS, bootstrap_timeout_ms=ADMIN_TIMEOUT_MS
        )
        yield client
    except (ClusterAuthorizationFailedError, TopicAuthorizationFailedError) as error:
        raise KafkaForbidden(
            f"Kafka does not let the principal of this certificate do that ({type(error).__name__}): "
            "use the administration's."
        ) from error
    except (KafkaError, OSError) as error:
        raise KafkaUnreachable(f"Kafka at {cluster.bootstrap} did not answer ({type(error).__name__}).") from error
    finally:
        if client is not None:
            client.close()


def find(cluster: Cluster, wanted: Wanted) -> Found:
    """Return what the brokers know of what is wanted. Raises KafkaUnreachable, KafkaForbidden."""
    with connect(cluster) as client:
        return _find(client, wanted)


def _find(client: Any, wanted: Wanted) -> Found:
    return Found(
        brokers=len(client.describe_cluster()["brokers"]),
        topics=_find_topics(client, wanted.topics),
        acls=_find_acls(client),
        quotas=_find_quotas(client),
    )


def _find_topics(client: Any, names: Iterable[str]) -> dict[str, TopicState]:
    described = [found for found in client.describe_topics(list(names)) if not found["error_code"]]
    if not described:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, found["name"]) for found in described]
    settings = client.describe_configs(resources, config_filter="all")["topic"]
    return {
        found["name"]: TopicState(
            len(found["partitions"]),
            len(found["partitions"][0]["replica_nodes"]),
            {name: each["value"] for name, each in settings[found["name"]].items()},
        )
        for found in described
    }


def _find_acls(client: Any) -> frozenset[Acl] | None:
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    try:
        found, _ = client.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anything))
    except SecurityDisabledError:
        return None
    return frozenset(
        Acl(
            acl.principal,
            acl.resource_pattern.resource_type.name.lower(),
            acl.resource_pattern.resource_name,
            acl.operation.name.lower(),
            acl.resource_pattern.pattern_type.name.lower(),
            acl.permission_type.name.lower(),
            acl.host,
        )
        for acl in found
    )


def _find_quotas(client: Any) -> dict[str, dict[str, float]]:
    component = DescribeClientQuotasRequest.ComponentData(
        entity_type=USER_ENTITY, match_type=ANY_SPECIFIED_NAME, match=None
    )
    answer = _send(client, DescribeClientQuotasRequest(components=[component], strict=True))
    _check(answer.error_code)
    return {
        entry.entity[0].entity_name: {value.key: value.value for value in entry.values}
        for entry in answer.entries or ()
    }


def read_certificate_ends(cluster: Cluster) -> dict[str, datetime]:
    """Return when the certificate of each broker that answers ends, by address; nothing on plain text."""
    ends: dict[str, datetime] = {}
    if cluster.tls is None:
        return ends
    for host, port in _addresses(cluster):
        with contextlib.suppress(OSError), socket.create_connection((host, port), PROBE_TIMEOUT_S) as opened:
            with cluster.tls.wrap_socket(opened, server_hostname=host) as secured:
                shown = secured.getpeercert(binary_form=True)
            ends[f"{host}:{port}"] = x509.load_der_x509_certificate(shown or b"").not_valid_after_utc
    return ends


def read_disks(cluster: Cluster) -> list[tuple[str, int, int]]:
    """Return of each broker's disks the name, the size and what is free, in bytes (-1: it does not tell).

    Raises KafkaUnreachable, KafkaForbidden.
    """
    with connect(cluster) as client:
        return [
            (f"Broker {broker['broker']}", directory.get("total_bytes", -1), directory.get("usable_bytes", -1))
            for broker in client.describe_log_dirs()
            for directory in broker["log_dirs"]
        ]


def read_ends(cluster: Cluster, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Return where each partition of the logical topics ends; nothing of those that do not exist.

    Raises KafkaUnreachable, KafkaForbidden.
    """
    with connect(cluster) as client:
        described = client.describe_topics([cluster.physical(topic) for topic in topics])
        places = {
            TopicPartition(found["name"], place["partition_index"]): OffsetSpec.LATEST
            for found in described
            if not found["error_code"]
            for place in found["partitions"]
        }
        ends = client.list_partition_offsets(places) if places else {}
    return {(place.topic.removeprefix(cluster.prefix), place.partition): end.offset for place, end in ends.items()}


def carry_out(cluster: Cluster, wanted: Wanted, plan: Plan) -> Plan:
    """Do what is planned, wait until the brokers know it, and return what is then left to do.

    Raises KafkaUnreachable, KafkaForbidden.
    """
    with connect(cluster) as client:
        _revoke(client, plan.revoked)
        _create(client, plan.created)
        _alter(client, plan.altered)
        _grant(client, plan.granted)
        _limit(client, plan.limits)
        settling = Retrying(
            retry=retry_if_result(lambda left: any(left.list_steps())),
            stop=stop_after_delay(SETTLE_TIMEOUT_S),
            wait=wait_fixed(SETTLE_INTERVAL_S),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else plan,
        )
        return settling(lambda: make_plan(wanted, _find(client, wanted)))


def _create(client: Any, created: Mapping[str, TopicState]) -> None:
    for name, state in created.items():
        topic = NewTopic(name, state.partitions, state.replicas, topic_configs=dict(state.settings))
        # Another operator may have been quicker: then the topic is there, which is all that was asked.
        with contextlib.suppress(TopicAlreadyExistsError):
            client.create_topics([topic], wait_for_metadata=True)


def _alter(client: Any, altered: Mapping[str, Mapping[str, str]]) -> None:
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, configs=dict(settings)) for name, settings in altered.items()
    ]
    if resources:
        client.alter_configs(resources)


def _grant(client: Any, acls: Iterable[Acl]) -> None:
    entries = [ACL(acl.principal, acl.host, *_kinds(acl), ResourcePattern(*_pattern(acl))) for acl in acls]
    if entries and (failed := client.create_acls(entries)["failed"]):
        raise failed[0]()


def _revoke(client: Any, acls: Iterable[Acl]) -> None:
    entries = [ACLFilter(acl.principal, acl.host, *_kinds(acl), ResourcePatternFilter(*_pattern(acl))) for acl in acls]
    for _, _, error in client.delete_acls(entries) if entries else ():
        if error is not NoError:
            raise error()


def _kinds(acl: Acl) -> tuple[ACLOperation, ACLPermissionType]:
    return ACLOperation[acl.operation.upper()], ACLPermissionType[acl.permission.upper()]


def _pattern(acl: Acl) -> tuple[ResourceType, str, ACLResourcePatternType]:
    return ResourceType[acl.resource.upper()], acl.name, ACLResourcePatternType[acl.pattern.upper()]


def _limit(client: Any, limits: Mapping[str, Mapping[str, float | None]]) -> None:
    entry = AlterClientQuotasRequest.EntryData
    entries = [
        entry(
            entity=[entry.EntityData(entity_type=USER_ENTITY, entity_name=user)],
            ops=[entry.OpData(key=key, value=value or 0.0, remove=value is None) for key, value in values.items()],
        )
        for user, values in limits.items()
    ]
    if entries:
        for answer in _send(client, AlterClientQuotasRequest(entries=entries, validate_only=False)).entries:
            _check(answer.error_code)


def _send(client: Any, request: Any) -> Any:
    # The client's own calls end here; it offers nothing for requests that it has no call for.
    return client._manager.run(client._manager.send, request)


def _check(error_code: int) -> None:
    error = for_code(error_code)
    if error is not NoError:
        raise error()
