"""What the holder of a certificate can try against brokers: one request for each operation on each kind of thing.

Requests are made raw, so that a refusal is the broker's own and not a client's caution. Each gives, by name, whether
the broker let it pass: anything but a refusal of the right counts as passed, also an error that comes after it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.protocol.admin import (
    AlterClientQuotasRequest,
    CreateAclsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteAclsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    DescribeTransactionsRequest,
    IncrementalAlterConfigsRequest,
)
from kafka.protocol.consumer import FetchRequest, HeartbeatRequest
from kafka.protocol.metadata import FindCoordinatorRequest, MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest
from kafka.record.memory_records import MemoryRecordsBuilder
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from devstack.kafka import Kafka

TOPIC_FORBIDDEN, GROUP_FORBIDDEN, CLUSTER_FORBIDDEN, TRANSACTIONAL_ID_FORBIDDEN = 29, 30, 31, 53
FORBIDDEN = {TOPIC_FORBIDDEN, GROUP_FORBIDDEN, CLUSTER_FORBIDDEN, TRANSACTIONAL_ID_FORBIDDEN}
TIMEOUT_MS = 10_000
# The last versions in which these name a topic, rather than give its id.
BY_NAME = {ProduceRequest: 12, FetchRequest: 12}
TOPIC, BROKER, CLUSTER = 2, 4, 4
LITERAL, ANY, ALLOW, ALL_OPERATIONS = 3, 1, 3, 2

Passed = Mapping[str, bool]


class Intruder:
    """One connection under one certificate."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def _send(self, request: Any) -> Any:
        return self._client._manager.run(self._client._manager.send, request)

    def begin_group(self, name: str) -> None:
        """Ask for a group's coordinator until there is one: the first time, a topic is made for it."""
        request = FindCoordinatorRequest(key_type=0, coordinator_keys=[name], min_version=4)
        waiting = Retrying(
            retry=retry_if_result(lambda answer: answer.coordinators[0].error_code != 0),
            stop=stop_after_delay(TIMEOUT_MS / 1_000),
            wait=wait_fixed(0.1),
        )
        waiting(self._send, request)

    def try_topics(self, operation: str, names: Sequence[str]) -> Passed:
        """Return which of these topics the operation is let through on."""
        return TOPIC_TRIALS[operation](self._send, names)

    def try_group(self, operation: str, name: str) -> bool:
        """Return whether the operation is let through on this consumer group."""
        return GROUP_TRIALS[operation](self._send, name) not in FORBIDDEN

    def try_transactional_id(self, operation: str, name: str) -> bool:
        """Return whether the operation is let through on this transactional id."""
        return TRANSACTION_TRIALS[operation](self._send, name) not in FORBIDDEN

    def try_cluster(self, operation: str) -> bool:
        """Return whether the operation is let through on the cluster itself."""
        return CLUSTER_TRIALS[operation](self._send) not in FORBIDDEN


@contextmanager
def open_intruder(cluster: Kafka, name: str) -> Iterator[Intruder]:
    """Give a connection under the certificate of this common name."""
    client = KafkaAdminClient(**cluster.options(name), request_timeout_ms=TIMEOUT_MS)
    try:
        yield Intruder(client)
    finally:
        client.close()


def _passed(results: Sequence[Any]) -> dict[str, bool]:
    return {result.name: result.error_code not in FORBIDDEN for result in results}


def _record() -> bytes:
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1024)
    builder.append(timestamp=None, key=b"K", value=b"V")
    builder.close()
    return bytes(builder.buffer())


def _write(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    data, place = ProduceRequest.TopicProduceData, ProduceRequest.TopicProduceData.PartitionProduceData
    topics = [data(name=name, partition_data=[place(index=0, records=_record())]) for name in names]
    answer = send(
        ProduceRequest(
            transactional_id=None,
            acks=-1,
            timeout_ms=TIMEOUT_MS,
            topic_data=topics,
            max_version=BY_NAME[ProduceRequest],
        )
    )
    return {each.name: each.partition_responses[0].error_code not in FORBIDDEN for each in answer.responses}


def _read(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    topic, place = FetchRequest.FetchTopic, FetchRequest.FetchTopic.FetchPartition
    partition = {"partition": 0, "current_leader_epoch": -1, "fetch_offset": 0, "last_fetched_epoch": -1}
    topics = [
        topic(topic=name, partitions=[place(**partition, log_start_offset=-1, partition_max_bytes=1_000)])
        for name in names
    ]
    answer = send(
        FetchRequest(
            max_wait_ms=0, min_bytes=0, max_bytes=10_000, isolation_level=0, session_id=0, session_epoch=-1,
            topics=topics, forgotten_topics_data=[], rack_id="", max_version=BY_NAME[FetchRequest],
        )
    )  # fmt: skip
    return {each.topic: each.partitions[0].error_code not in FORBIDDEN for each in answer.responses}


def _describe(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    topics = [MetadataRequest.MetadataRequestTopic(name=name) for name in names]
    return _passed(send(MetadataRequest(topics=topics, allow_auto_topic_creation=False)).topics)


def _create(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    topic = CreateTopicsRequest.CreatableTopic
    topics = [topic(name=f"{name}.new", num_partitions=1, replication_factor=1, assignments=[], configs=[])
              for name in names]  # fmt: skip
    answer = send(CreateTopicsRequest(topics=topics, timeout_ms=TIMEOUT_MS, validate_only=True))
    return {name.removesuffix(".new"): passed for name, passed in _passed(answer.topics).items()}


def _alter(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    topics = [CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=9, assignments=None) for name in names]
    return _passed(send(CreatePartitionsRequest(topics=topics, timeout_ms=TIMEOUT_MS, validate_only=True)).results)


def _delete(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    topic = DeleteRecordsRequest.DeleteRecordsTopic
    place = topic.DeleteRecordsPartition(partition_index=0, offset=0)
    answer = send(
        DeleteRecordsRequest(topics=[topic(name=name, partitions=[place]) for name in names], timeout_ms=TIMEOUT_MS)
    )
    return {each.name: each.partitions[0].error_code not in FORBIDDEN for each in answer.topics}


def _describe_configs(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    resources = [resource(resource_type=TOPIC, resource_name=name, configuration_keys=None) for name in names]
    answer = send(DescribeConfigsRequest(resources=resources, include_synonyms=False, include_documentation=False))
    return {each.resource_name: each.error_code not in FORBIDDEN for each in answer.results}


def _alter_configs(send: Callable[[Any], Any], names: Sequence[str]) -> Passed:
    answer = send(_write_alteration(TOPIC, names, "retention.ms", "1000"))
    return {each.resource_name: each.error_code not in FORBIDDEN for each in answer.responses}


def _write_alteration(kind: int, names: Sequence[str], setting: str, value: str) -> Any:
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource
    change = resource.AlterableConfig(name=setting, config_operation=0, value=value)
    resources = [resource(resource_type=kind, resource_name=name, configs=[change]) for name in names]
    return IncrementalAlterConfigsRequest(resources=resources, validate_only=True)


TOPIC_TRIALS: Mapping[str, Callable[[Callable[[Any], Any], Sequence[str]], Passed]] = {
    "read": _read,
    "write": _write,
    "describe": _describe,
    "create": _create,
    "alter": _alter,
    "delete": _delete,
    "describe_configs": _describe_configs,
    "alter_configs": _alter_configs,
}


def _read_group(send: Callable[[Any], Any], name: str) -> int:
    request = HeartbeatRequest(group_id=name, generation_id=1, member_id="x", group_instance_id=None)
    return int(send(request).error_code)


def _describe_group(send: Callable[[Any], Any], name: str) -> int:
    return int(send(DescribeGroupsRequest(groups=[name], include_authorized_operations=False)).groups[0].error_code)


def _delete_group(send: Callable[[Any], Any], name: str) -> int:
    return int(send(DeleteGroupsRequest(groups_names=[name])).results[0].error_code)


GROUP_TRIALS: Mapping[str, Callable[[Callable[[Any], Any], str], int]] = {
    "read": _read_group,
    "describe": _describe_group,
    "delete": _delete_group,
}


def _write_transaction(send: Callable[[Any], Any], name: str | None) -> int:
    request = InitProducerIdRequest(
        transactional_id=name, transaction_timeout_ms=TIMEOUT_MS, producer_id=-1, producer_epoch=-1, max_version=5
    )
    return int(send(request).error_code)


def _describe_transaction(send: Callable[[Any], Any], name: str) -> int:
    return int(send(DescribeTransactionsRequest(transactional_ids=[name])).transaction_states[0].error_code)


TRANSACTION_TRIALS: Mapping[str, Callable[[Callable[[Any], Any], str], int]] = {
    "write": _write_transaction,
    "describe": _describe_transaction,
}


def _describe_cluster(send: Callable[[Any], Any]) -> int:
    # Empty where the directories may not be seen, or an error since version 3.
    answer = send(DescribeLogDirsRequest(topics=[]))
    return int(answer.error_code)


def _read_acls(send: Callable[[Any], Any]) -> int:
    request = DescribeAclsRequest(
        resource_type_filter=ANY, resource_name_filter=None, pattern_type_filter=ANY, principal_filter=None,
        host_filter=None, operation=ANY, permission_type=ANY,
    )  # fmt: skip
    return int(send(request).error_code)


def _grant_oneself(send: Callable[[Any], Any]) -> int:
    creation = CreateAclsRequest.AclCreation(
        resource_type=TOPIC, resource_name="intruder", resource_pattern_type=LITERAL, principal="User:intruder",
        host="*", operation=ALL_OPERATIONS, permission_type=ALLOW,
    )  # fmt: skip
    return int(send(CreateAclsRequest(creations=[creation])).results[0].error_code)


def _take_rights(send: Callable[[Any], Any]) -> int:
    which = DeleteAclsRequest.DeleteAclsFilter(
        resource_type_filter=TOPIC, resource_name_filter="intruder", pattern_type_filter=LITERAL,
        principal_filter="User:intruder", host_filter="*", operation=ALL_OPERATIONS, permission_type=ALLOW,
    )  # fmt: skip
    return int(send(DeleteAclsRequest(filters=[which])).filter_results[0].error_code)


def _read_quotas(send: Callable[[Any], Any]) -> int:
    return int(send(DescribeClientQuotasRequest(components=[], strict=False)).error_code)


def _lift_quota(send: Callable[[Any], Any]) -> int:
    entry = AlterClientQuotasRequest.EntryData
    lifted = entry(
        entity=[entry.EntityData(entity_type="user", entity_name="intruder")],
        ops=[entry.OpData(key="producer_byte_rate", value=1.0, remove=False)],
    )
    return int(send(AlterClientQuotasRequest(entries=[lifted], validate_only=True)).entries[0].error_code)


def _set_broker(send: Callable[[Any], Any]) -> int:
    return int(send(_write_alteration(BROKER, ["1"], "log.cleaner.threads", "1")).responses[0].error_code)


CLUSTER_TRIALS: Mapping[str, Callable[[Callable[[Any], Any]], int]] = {
    "look at the disks": _describe_cluster,
    "read rights": _read_acls,
    "grant itself rights": _grant_oneself,
    "take rights away": _take_rights,
    "read quotas": _read_quotas,
    "lift its quota": _lift_quota,
    "set a broker": _set_broker,
    "write idempotently": lambda send: _write_transaction(send, None),
}
