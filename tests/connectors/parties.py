"""The other side of a connector, for its tests: a root and a hub with keys, records as the hub signs them, its API."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from connectors.link.fact import Author, NewEvent
from contracts import merkle
from contracts.events import EVENTS
from contracts.log import entry
from contracts.log.checkpoint import Checkpoint, sign_checkpoint
from contracts.log.note import Kind, VerifierKey
from contracts.log.proof import Proof
from contracts.registry import Registry
from contracts.wire import base64url
from contracts.wire.envelope import read_envelope, write_envelope
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey, Signer
from contracts.wire.record import Headers
from contracts.wire.signature import TYP_EVENT, TYP_RECOMMENDATION, headers_of, sign_single
from tests.contracts.root_world import write_registry
from tests.contracts.samples import CODE, SAMPLES

ENVIRONMENT = "demo"
LOG_ORIGIN = "hub.example/demo"
BRI_SOURCE = "https://bri.example/tka"
MINISTRY_SOURCE = "https://ministry.example/tka"
IMMIGRATION_SOURCE = "https://immigration.example/tka"
HUB_SOURCE = "https://hub.example/tka"
AUTHOR = Author("bri", BRI_SOURCE, ENVIRONMENT, 90)
NONCE = "A" * 22
# Small, so that a few messages fill more than one page.
PAGE_MAX = 2
# What the hub gives at once, and refuses to exceed.
RECORDS_MAX = 256
LIMITS = {"expiry_days_max": 90, "clock_skew_s": 300, "deferral_s": 600, "unmatched_s": 86_400, "heartbeat_s": 30}


def payment(number: int, **changes: Any) -> NewEvent:
    """A bank's fact: the payment of this number."""
    kind = "id.tka.bank.payment.received.v1"
    data = SAMPLES[kind] | {"payment_request_id": f"PR-{number}"} | changes
    time = datetime(2026, 3, 3, 3, 4, 5, tzinfo=UTC)
    return NewEvent(f"snap/partner/PR-{number}", kind, CODE, time, CODE, data)


@dataclass
class Item:
    """A record of a stream as the hub made it."""

    seq: int
    key: str
    value: bytes | None
    headers: Headers


@dataclass
class World:
    """Keys of everybody, and the registry that names them."""

    root: PrivateKey = field(default_factory=lambda: PrivateKey.generate("ES256"))
    hub: PrivateKey = field(default_factory=lambda: PrivateKey.generate("Ed25519"))
    bri: PrivateKey = field(default_factory=lambda: PrivateKey.generate("Ed25519"))
    bri_next: Signer | None = None
    ministry: PrivateKey = field(default_factory=lambda: PrivateKey.generate("ES256"))
    immigration: PrivateKey = field(default_factory=lambda: PrivateKey.generate("Ed25519"))
    api: PrivateKey = field(default_factory=lambda: PrivateKey.generate("ES256"))
    ministry_api: PrivateKey = field(default_factory=lambda: PrivateKey.generate("Ed25519"))
    immigration_api: PrivateKey = field(default_factory=lambda: PrivateKey.generate("Ed25519"))
    log: PrivateKey = field(default_factory=lambda: PrivateKey.generate("Ed25519"))
    revoked: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    proof_required: bool = False
    partitions: int = 1
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def _keys(self, *keys: tuple[Signer, str]) -> list[dict[str, Any]]:
        day = timedelta(days=1)
        return [
            {
                "kid": key.kid,
                "alg": key.alg,
                "use": use,
                "jwk": key.public.jwk,
                "nbf": write_instant(self.now - day),
                "exp": write_instant(self.now + 365 * day),
                "revoked_at": write_instant(self.now) if key.kid in self.revoked else None,
            }
            for key, use in keys
            if key.kid not in self.unknown
        ]

    def _bri_keys(self) -> list[tuple[Signer, str]]:
        following = [] if self.bri_next is None else [(self.bri_next, "message")]
        return [(self.bri, "message"), *following, (self.api, "api")]

    def _party(self, name: str, kind: str, source: str, *keys: tuple[Signer, str]) -> dict[str, Any]:
        return {
            "id": name,
            "kind": kind,
            "name": name.capitalize(),
            "bank_code": "002" if kind == "bank" else None,
            "sources": [source],
            "keys": self._keys(*keys),
            "publishes": [event for event in EVENTS if event.startswith(f"id.tka.{kind}.")],
            "subscribes": [],
        }

    def document(self, version: int = 1) -> dict[str, Any]:
        """The registry document of this version, unsigned."""
        return {
            "format": "tkahub-registry/1",
            "environment": ENVIRONMENT,
            "version": version,
            "issued_at": write_instant(self.now),
            "log_origin": LOG_ORIGIN,
            "log_keys": [VerifierKey.of(LOG_ORIGIN, Kind.ED25519, self.log.public).write()],
            "proof_required": self.proof_required,
            "limits": LIMITS,
            "topics": {
                "from.bri": 1,
                "to.bri": self.partitions,
                "from.ministry": 1,
                "to.ministry": 1,
                "recommendations": 1,
            },
            "participants": [
                self._party("hub", "hub", HUB_SOURCE, (self.hub, "message")),
                self._party("bri", "bank", BRI_SOURCE, *self._bri_keys()),
                self._party(
                    "ministry", "ministry", MINISTRY_SOURCE, (self.ministry, "message"), (self.ministry_api, "api")
                ),
                self._party("immigration", "immigration", IMMIGRATION_SOURCE, (self.immigration, "message")),
            ],
            "rule_sets": [],
            "contracts": [{"type": event, "sha256": "0" * 64} for event in EVENTS],
        }

    def signed(self, version: int = 1) -> bytes:
        """The signed registry of this version."""
        return write_registry(self.document(version), self.root)

    def registry(self, version: int = 1) -> Registry:
        """The registry of this version, verified."""
        return Registry.read(self.signed(version), self.root.public)

    def word(self, topic: str, seq: int, event: str, data: dict[str, Any], **changes: Any) -> Item:
        """The hub's own word on partition 0 of a topic; `changes` are attributes, `signer` and `hub_seq`."""
        signer: PrivateKey = changes.pop("signer", self.hub)
        hub_seq = changes.pop("hub_seq", seq)
        extra = changes.pop("headers", ())
        source = changes.pop("source", HUB_SOURCE)
        attributes = {
            "id": f"{topic}-{seq}",
            "source": source,
            "type": event,
            "time": self.now,
            "recordedtime": self.now,
            "subject": "BRI",
            "audience": f"{ENVIRONMENT}/{topic}/0",
            "sequence": seq,
            "expirytime": self.now + timedelta(days=30),
            "correlationid": "c",
            "nonce": NONCE,
        } | changes
        value = write_envelope(attributes, data)
        typ = TYP_RECOMMENDATION if ".recommendation." in event and source == HUB_SOURCE else TYP_EVENT
        headers = headers_of(sign_single(value, signer, typ), None, [("hub-seq", b"%d" % hub_seq), *extra])
        return Item(hub_seq, str(attributes["subject"]), value, headers)

    def proved(self, item: Item) -> Item:
        """The recommendation `item`, with the proof that it is the second of the log's three entries."""
        assert item.value is not None
        leaf = merkle.leaf_hash(entry.recommendation_of(read_envelope(item.value)))
        leaves = [bytes(32), leaf, bytes(32)]
        signed = sign_checkpoint(Checkpoint(LOG_ORIGIN, 3, merkle.root(leaves)), self.log).write()
        proof = Proof(1, tuple(merkle.inclusion_path(leaves, 1)), signed).write()
        return replace(item, headers=(*item.headers, ("tlog-proof", proof)))

    def heartbeat(self, topic: str, seq: int, *, registry_version: int = 1, **changes: Any) -> Item:
        """A heartbeat of the hub."""
        data = {"topic": topic, "partition": 0, "last_sequence": seq - 1, "registry_version": registry_version}
        return self.word(topic, seq, "id.tka.hub.heartbeat.v1", data, **changes)

    def outcome(self, topic: str, seq: int, **changes: Any) -> Item:
        """A payment's outcome."""
        event = "id.tka.hub.payment.outcome.v1"
        return self.word(topic, seq, event, SAMPLES[event], subject=CODE, **changes)

    def receipt(self, topic: str, seq: int, source: str, *, accepted: list[Any] = (), refused: list[Any] = ()) -> Item:  # type: ignore[assignment]
        """A receipt for messages of `source`."""
        data = {"source": source, "accepted": list(accepted), "refused": list(refused)}
        return self.word(topic, seq, "id.tka.hub.receipt.v1", data)

    def forward(self, hub_seq: int, event: str, signer: PrivateKey, source: str, sender: str, **changes: Any) -> Item:
        """An original event of a participant, as the hub forwards it."""
        data = SAMPLES[event]
        subject = data.get("application", "X")
        attributes = {"audience": f"{ENVIRONMENT}/from.{sender}", "sequence": 1, "source": source, "subject": subject}
        return self.word("x", 1, event, data, **(attributes | {"signer": signer, "hub_seq": hub_seq} | changes))


@dataclass
class HubPeer:
    """The hub's API, spoken by an independent server: the registry, and streams for who shows a good assertion."""

    world: World
    url: str = ""
    registry: bytes = b""
    streams: dict[tuple[str, int], list[Item]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    failures: int = 0
    accepted: list[dict[str, Any]] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)
    deferred: int = 0
    refusals: list[str] = field(default_factory=list)

    async def _registry(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.failures > 0:
            self.failures -= 1
            return web.Response(status=503)
        return web.Response(body=self.registry, content_type="application/jose+json")

    def _check(self, request: web.Request, topic: str) -> None:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        header = json.loads(base64url.decode(token.split(".")[0].encode()) or b"")
        key = next(
            key
            for key in (self.world.api, self.world.ministry_api, self.world.immigration_api)
            if key.kid == header["kid"]
        )
        jwk: dict[str, str | list[str]] = dict(key.public.jwk)
        public = ECKey.import_key(jwk) if jwk["kty"] == "EC" else OKPKey.import_key(jwk)
        said = jwt.decode(token, public, algorithms=["ES256", "Ed25519"])
        assert said.header == {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
        claims = said.claims
        assert claims["iss"] == claims["sub"] == topic.removeprefix("to.")
        assert claims["aud"] == self.url
        assert 0 < claims["exp"] - claims["iat"] <= 60
        assert claims["jti"] not in self.seen
        self.seen.add(claims["jti"])

    async def _stream(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        topic, partition = request.match_info["topic"], int(request.match_info["partition"])
        try:
            self._check(request, topic)
        except AssertionError as error:
            self.refusals.append(repr(error))
            return web.Response(status=401)
        after, limit = int(request.query["after"]), int(request.query["limit"])
        if limit > RECORDS_MAX:
            return web.Response(status=400)
        items = self.streams.get((topic, partition), [])
        found = [item for item in items if item.seq > after][:limit]
        records = [
            {
                "seq": item.seq,
                "key": item.key,
                "value": None if item.value is None else base64url.encode(item.value),
                "headers": [[name, (raw or b"").decode()] for name, raw in item.headers],
            }
            for item in found
        ]
        last = max((item.seq for item in items), default=0)
        return web.json_response({"topic": topic, "partition": partition, "last": last, "records": records})

    async def _progress(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self._check_source(request)
        last = max((one["sequence"] for one in self.accepted), default=0)
        taken = [{"partition": partition, "next": offset} for partition, offset in self.taken.items()]
        return web.json_response({"last_sequence": last, "taken": taken, "deferred": self.deferred})

    async def _accepted(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        self._check_source(request)
        after = int(request.query["after"])
        found = [one for one in self.accepted if one["sequence"] > after][:PAGE_MAX]
        return web.json_response({"messages": found})

    def _check_source(self, request: web.Request) -> None:
        source = request.match_info["source"]
        if self.failures > 0:
            self.failures -= 1
            raise web.HTTPServiceUnavailable
        participant = {BRI_SOURCE: "bri", MINISTRY_SOURCE: "ministry", IMMIGRATION_SOURCE: "immigration"}[source]
        self._check(request, f"to.{participant}")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["HubPeer"]:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_get("/api/v1/registry", self._registry)
        app.router.add_get("/api/v1/sources/{source:.+}/progress", self._progress)
        app.router.add_get("/api/v1/sources/{source:.+}/accepted", self._accepted)
        app.router.add_get("/api/v1/streams/{topic}/{partition}", self._stream)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{port}"
        self.registry = self.registry or self.world.signed()
        try:
            yield self
        finally:
            await runner.cleanup()


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    attempts = AsyncRetrying(
        retry=retry_if_result(lambda result: not result), wait=wait_fixed(0.02), stop=stop_after_delay(within_s)
    )
    await attempts(holds)


async def create_topics(bootstrap: str, *names: str) -> None:
    """Create topics of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, *items: Item) -> None:
    """Send records as the relay does: in one transaction."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"peer-{topic}", acks="all")
    await producer.start()
    try:
        async with producer.transaction():
            for item in items:
                await producer.send_and_wait(
                    topic, item.value, key=item.key.encode(), headers=list(item.headers), partition=0
                )
    finally:
        await producer.stop()


def write_keys(folder: Path, world: World, message: PrivateKey, api: PrivateKey) -> dict[str, str]:
    """Write the key files of one connector; return the settings that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root.jwk.json").write_text(json.dumps(world.root.public.jwk))
    for name, key in (("message.pem", message), ("api.pem", api)):
        (folder / name).write_bytes(key.to_pem())
        (folder / name).chmod(0o600)
    return {
        "TRUST_ROOT_FILE": str(folder / "root.jwk.json"),
        "KEY_FILE": str(folder / "message.pem"),
        "API_KEY_FILE": str(folder / "api.pem"),
        "SPOOL_DIR": str(folder / "spool"),
    }
