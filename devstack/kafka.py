"""A real Apache Kafka for development and tests: the one given, a container, or one to three embedded brokers."""

import base64
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from devstack import jars
from devstack.certificates import Authority, Credentials
from devstack.choice import Choice, choose
from devstack.ports import LOCALHOST, find_free_ports
from devstack.processes import Child, StackError
from devstack.run import PREFIX, Run

GIVEN_VARIABLE = "KAFKA_BOOTSTRAP"
IMAGE = f"apache/kafka:{jars.KAFKA_VERSION}"
CONTAINER_PORT = 9092
CONTAINER_CONTROLLER_PORT = 9093
HEAP_MB = 512
HEAP_MB_OF_SEVERAL = 384
READY_TIMEOUT_S = 60
PROBE_INTERVAL_S = 0.1
REQUEST_TIMEOUT_MS = 10_000
FORMAT_TIMEOUT_S = 60
OFFSETS_RETENTION_MINUTES = 10 * 365 * 24 * 60
# Shorter than the defaults, so that a test of a killed leader need not wait for 9 s.
BROKER_SESSION_TIMEOUT_MS = 6_000
BROKER_HEARTBEAT_MS = 1_000
CLEANER_BUFFER_BYTES = 16 * 1024 * 1024
# What the certificates of the brokers and of whoever administers them are made out to. No participant's id has a dot.
BROKER_NAME = "hub.broker"
ADMINISTRATION_NAME = "hub.admin"
SHORT_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
# For a broker that works for many minutes, as in service: then the optimising compiler gives back what it takes.
LONG_JVM = ("-XX:+UseSerialGC", "-Xshare:auto")
LOG_CONFIGURATION = """\
rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=STDOUT
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=[%d] %p %m (%c)%n
"""


@dataclass
class Broker:
    """One embedded broker, which can be killed, stopped and started again on the same port and data."""

    node_id: int
    port: int
    folder: Path
    command: list[str]
    run: Run
    child: Child | None = None

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{LOCALHOST}:{self.port}"

    def start(self) -> None:
        """Start the process; `Kafka.wait_until_ready` tells when it serves."""
        self.child = self.run.children.start(f"kafka-{self.node_id}", self.command)

    def stop(self) -> None:
        """SIGTERM: the broker hands its partitions over before it ends."""
        if self.child:
            self.child.stop(timeout_s=READY_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL."""
        if self.child:
            self.child.kill()

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.child is not None and self.child.is_alive()


@dataclass
class Kafka:
    """A cluster that answers. `brokers` is empty unless it is embedded."""

    choice: Choice
    bootstrap: str
    prefix: str
    brokers: list[Broker] = field(default_factory=list)
    container: Any = None
    authority: Authority | None = None

    def certify(self, name: str) -> Credentials | None:
        """Return a client's credentials; None where clients need none."""
        return None if self.authority is None else self.authority.certify(name)

    def options(self, name: str = ADMINISTRATION_NAME) -> dict[str, Any]:
        """Return how to connect as `name`, for aiokafka and kafka-python alike."""
        credentials = self.certify(name)
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap.split(",")}
        if credentials is not None:
            options |= {"security_protocol": "SSL", "ssl_context": credentials.open_context()}
        return options

    def create_topics(self, partitions: Mapping[str, int], **settings: str) -> None:
        """Create topics by physical name, with LogAppendTime; `settings` use `_` for `.`. Waits until all lead."""
        configs = {"message.timestamp.type": "LogAppendTime"} | {k.replace("_", "."): v for k, v in settings.items()}
        with self.admin() as admin:
            wanted = {name: {"num_partitions": count, "configs": configs} for name, count in partitions.items()}
            admin.create_topics(wanted, wait_for_metadata=True)

    def delete_topics(self, prefix: str) -> None:
        """Delete every topic whose name starts with `prefix`, which must be one of this run's."""
        if not prefix.startswith(self.prefix):
            raise StackError(f"The prefix {prefix!r} is not one of this run's ({self.prefix!r}).")
        with self.admin() as admin:
            names = [name for name in admin.list_topics() if name.startswith(prefix)]
            if names:
                admin.delete_topics(names)

    def find_leader(self, topic: str, partition: int) -> Broker:
        """Return the embedded broker that leads the partition now."""
        with self.admin() as admin:
            for row in admin.describe_topics([topic])[0]["partitions"]:
                if row["partition_index"] == partition:
                    return next(broker for broker in self.brokers if broker.node_id == row["leader_id"])
        raise StackError(f"The topic {topic!r} has no partition {partition}.")

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Give an administration client for one block."""
        client = KafkaAdminClient(**self.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            yield client
        finally:
            client.close()

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until every living embedded broker (or whatever was given) is in the cluster. Raises StackError."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type((KafkaError, OSError, _NotReadyError)),
                stop=stop_after_delay(timeout_s),
                wait=wait_fixed(PROBE_INTERVAL_S),
                reraise=True,
            ):
                with attempt:
                    self._check_ready()
        except (KafkaError, OSError, _NotReadyError) as error:
            raise StackError(f"Kafka at {self.bootstrap} did not answer within {timeout_s:.0f} s ({error}).") from error

    def close(self) -> None:
        """Remove all that this run created. An embedded cluster is ended without ceremony: its data goes too."""
        if self.choice is Choice.GIVEN:
            self.delete_topics(self.prefix)
            self._delete_groups()
        for broker in self.brokers:
            broker.kill()
        if self.container is not None:
            self.container.stop()

    def _check_ready(self) -> None:
        for broker in self.brokers:
            if not broker.is_alive():
                tail = broker.child.read_log_tail() if broker.child else "it was not started"
                raise StackError(f"Kafka broker {broker.node_id} has ended: {tail}")
            # A plain connection first: the client's own retries take longer than the broker's start.
            socket.create_connection((LOCALHOST, broker.port), timeout=1).close()
        with self.admin() as admin:
            known = {row["broker_id"] for row in admin.describe_cluster()["brokers"]}
        missing = {broker.node_id for broker in self.brokers} - known
        if missing:
            raise _NotReadyError(f"brokers {sorted(missing)} are not in the cluster")

    def _delete_groups(self) -> None:
        with self.admin() as admin:
            ours = [group["group_id"] for group in admin.list_groups() if group["group_id"].startswith(self.prefix)]
            if ours:
                admin.delete_groups(ours)


class _NotReadyError(Exception):
    """The cluster answers, but not yet with all of its brokers."""


def start_kafka(
    run: Run,
    *,
    brokers: int = 1,
    settings: Mapping[str, str] | None = None,
    jvm: Sequence[str] = SHORT_JVM,
    secured: bool = False,
    wait: bool = True,
) -> Kafka:
    """Give a cluster, by the order of choice, and say which. `settings`: broker settings beside the usual ones.

    `secured`: both sides show certificates, and nobody but the administration may do anything before it is granted;
    only an embedded cluster can be so, one of another kind comes without. `jvm` are options of an embedded broker's
    virtual machine. More than one broker is always embedded, since their tests must be able to kill one. With `wait`
    false the caller starts other things meanwhile and calls `wait_until_ready`. Raises StackError.
    """
    given = os.environ.get(GIVEN_VARIABLE)
    choice = Choice.EMBEDDED if brokers > 1 else choose(given)
    if choice is Choice.GIVEN and given:
        kafka = _use_given(run, given)
    elif choice is Choice.DOCKER:
        kafka = _start_container(run, settings or {})
    else:
        authority = Authority(run.folder / "certificates") if secured else None
        kafka = _start_embedded(run, brokers, settings or {}, jvm, authority)
    if wait:
        kafka.wait_until_ready()
    return kafka


def _use_given(run: Run, bootstrap: str) -> Kafka:
    """Take the cluster if it holds nothing but leftovers of other runs. Raises StackError."""
    kafka = Kafka(Choice.GIVEN, bootstrap, run.prefix)
    kafka.wait_until_ready()
    with kafka.admin() as admin:
        foreign = [name for name in admin.list_topics() if not name.startswith((f"{PREFIX}_", "__"))]
    if foreign:
        raise StackError(
            f"The Kafka cluster {bootstrap} holds topics that the development stack did not make "
            f"({min(foreign)!r} is one of {len(foreign)}); give it an empty one."
        )
    run.say(f"Kafka: the given cluster {bootstrap}, names start with {run.prefix}")
    return kafka


def _start_container(run: Run, settings: Mapping[str, str]) -> Kafka:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The reaper would remove the container as soon as this process ends.
    testcontainers_config.ryuk_disabled = run.keep
    port = find_free_ports(1)[0]
    listeners = f"CLIENTS://:{CONTAINER_PORT},CONTROLLER://:{CONTAINER_CONTROLLER_PORT}"
    properties = common_settings(1) | {
        "node.id": "1",
        "listeners": listeners,
        "controller.quorum.voters": f"1@localhost:{CONTAINER_CONTROLLER_PORT}",
    }
    container = DockerContainer(IMAGE).with_bind_ports(CONTAINER_PORT, port)
    host = container.get_container_host_ip()
    properties["advertised.listeners"] = f"CLIENTS://{host}:{port}"
    for name, value in (properties | dict(settings)).items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    container.start()
    run.say(f"Kafka: the image {IMAGE} in a container, {host}:{port}")
    return Kafka(Choice.DOCKER, f"{host}:{port}", run.prefix, container=container)


def _start_embedded(
    run: Run, count: int, settings: Mapping[str, str], jvm: Sequence[str], authority: Authority | None
) -> Kafka:
    """Format and start `count` brokers, each a controller too."""
    if authority is not None:
        settings = secured_settings(authority) | dict(settings)
    class_path = f"{jars.fetch_jars()}{os.sep}*"
    java = jars.find_java()
    (run.folder / "log4j2.properties").write_text(LOG_CONFIGURATION)
    ports = find_free_ports(2 * count)
    voters = ",".join(f"{number + 1}@{LOCALHOST}:{ports[count + number]}" for number in range(count))
    # Kafka's tool takes an id that begins with a hyphen for an option; a first byte of zero begins with A.
    cluster_id = base64.urlsafe_b64encode(bytes(1) + secrets.token_bytes(15)).rstrip(b"=").decode()
    brokers = []
    for number in range(count):
        broker = _prepare_broker(run, number + 1, (ports[number], ports[count + number]), voters, count, settings)
        heap = f"-Xmx{HEAP_MB if count == 1 else HEAP_MB_OF_SEVERAL}m"
        logging = f"-Dlog4j2.configurationFile={run.folder / 'log4j2.properties'}"
        properties = str(broker.folder / "server.properties")
        broker.command = [java, heap, *jvm, logging, "-cp", class_path, "kafka.Kafka", properties]
        brokers.append(broker)
    _format_storage(java, class_path, cluster_id, brokers)
    for broker in brokers:
        broker.start()
    bootstrap = ",".join(broker.address for broker in brokers)
    how = "" if authority is None else ", with certificates and rights"
    run.say(f"Kafka: {jars.KAFKA_VERSION} embedded, {count} broker{'s' if count > 1 else ''}, {bootstrap}{how}")
    return Kafka(Choice.EMBEDDED, bootstrap, run.prefix, brokers, authority=authority)


def _prepare_broker(
    run: Run, node_id: int, ports: tuple[int, int], voters: str, count: int, settings: Mapping[str, str]
) -> Broker:
    """Write the broker's properties. `ports`: for clients, for the controllers."""
    client_port, controller_port = ports
    folder = run.folder / f"kafka-{node_id}"
    folder.mkdir()
    own = {
        "node.id": str(node_id),
        "listeners": f"CLIENTS://{LOCALHOST}:{client_port},CONTROLLER://{LOCALHOST}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{LOCALHOST}:{client_port}",
        "controller.quorum.voters": voters,
        "log.dirs": str(folder / "data"),
    }
    properties = common_settings(count) | own | dict(settings)
    (folder / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return Broker(node_id, client_port, folder, [], run)


def _format_storage(java: str, class_path: str, cluster_id: str, brokers: list[Broker]) -> None:
    """Format all brokers' storage at once, each by Kafka's own tool. Raises StackError."""
    tool = [java, *SHORT_JVM, "-cp", class_path, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"]
    running = [
        subprocess.Popen(
            [*tool, str(broker.folder / "server.properties")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for broker in brokers
    ]
    for process in running:
        told, _ = process.communicate(timeout=FORMAT_TIMEOUT_S)
        if process.returncode:
            raise StackError(f"Kafka's storage could not be formatted: {told.strip()}")


def common_settings(brokers: int) -> dict[str, str]:
    """Broker settings that do not depend on where it runs. `brokers`: how many replicate."""
    replicas, in_sync = str(brokers), str(max(1, brokers - 1))
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "1",
        "offsets.retention.minutes": str(OFFSETS_RETENTION_MINUTES),
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "log.cleaner.dedupe.buffer.size": str(CLEANER_BUFFER_BYTES),
        "num.partitions": "1",
        "broker.session.timeout.ms": str(BROKER_SESSION_TIMEOUT_MS),
        "broker.heartbeat.interval.ms": str(BROKER_HEARTBEAT_MS),
    }


def secured_settings(authority: Authority) -> dict[str, str]:
    """Broker settings under which everybody shows a certificate, and may do only what is granted to its name.

    Controllers too: whoever could speak to one without a certificate could grant itself everything.
    """
    return {
        "listener.security.protocol.map": "CLIENTS:SSL,CONTROLLER:SSL",
        "ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.write_keystore(BROKER_NAME)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
        "ssl.principal.mapping.rules": "RULE:^CN=([a-z][a-z0-9.-]*)$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{BROKER_NAME};User:{ADMINISTRATION_NAME}",
    }
