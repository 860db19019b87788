"""An exchange without a hub: whoever writes a test has every key and writes the log by hand, honestly or not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from contracts import merkle
from contracts.audit.pack import Claim, Document, Leaf, LogPolicy, Message, Pack, Recommended, write_path
from contracts.audit.verify import Trust
from contracts.events import read_event
from contracts.log import entry
from contracts.log.checkpoint import Checkpoint, Policy, sign_checkpoint
from contracts.log.note import Kind, VerifierKey, cosign_text
from contracts.log.proof import Proof
from contracts.registry import Registry
from contracts.registry import write_registry as sign_registry
from contracts.rules.case import Fact, facts_of, fold
from contracts.rules.decide import Wanted, decide, recommendation_data
from contracts.rules.rulebook import Rulebook, RuleSet
from contracts.wire.envelope import read_envelope, write_envelope
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey
from contracts.wire.record import Record
from contracts.wire.signature import TYP_RECOMMENDATION, read_headers, sign_single
from hub.registration import Installed, add_participants, read_installed
from tests.contracts.root_world import PERSONS, roots_for, write_registry
from tests.hub.exchange import APPLICATION, BANK_TYPES, MINISTRY_TYPES, NONCE, ORIGIN, Bank, Ministry, Sender

NUMBER = "TKA-0123456789AB"
WITNESS = "kpk.example/witness"
INSTALLED = read_installed()


def member(sender: Sender, kind: str, publishes: Sequence[str], bank_code: str | None = None) -> dict[str, Any]:
    """A participant as the registry describes it."""
    keys = [{"jwk": key.public.jwk, "nbf": "2020-01-01T00:00:00Z", "exp": "2099-01-01T00:00:00Z"}
            for key in sender.registered]  # fmt: skip
    return {
        "id": sender.participant, "kind": kind, "bank_code": bank_code, "sources": [sender.source], "keys": keys,
        "publishes": list(publishes),
    }  # fmt: skip


@dataclass
class Held:
    """A message that was accepted into the log."""

    index: int
    record: Record
    fact: Fact


class World:
    """A log with the registry in force, and what was accepted; every method appends to it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.root, self.hub = PrivateKey.generate("ES256"), PrivateKey.generate("Ed25519")
        self.log, self.witness = PrivateKey.generate("Ed25519"), PrivateKey.generate("Ed25519")
        self.ministry, self.bri = Ministry(), Bank("bri")
        self.entries: list[bytes] = []
        self.registries: list[tuple[int, bytes]] = []
        self.rule_sets: list[tuple[int, str]] = []
        self.held: list[Held] = []
        self.issued: list[tuple[int, bytes, str]] = []
        self.installed: Installed = INSTALLED
        self.document: dict[str, Any] | None = None
        self.register()

    @classmethod
    def settled(cls) -> "World":
        """A world with one application, approved and paid, and its recommendation."""
        world = cls()
        for value in (world.ministry.submitted(), world.ministry.billed(), world.ministry.approved()):
            world.accept(world.ministry.sign(value))
        world.accept(world.bri.sign(world.bri.paid()))
        world.recommend()
        return world

    def append(self, written: bytes) -> int:
        """Append an entry."""
        self.entries.append(written)
        return len(self.entries) - 1

    def participants(self) -> list[dict[str, Any]]:
        """The participants as they are now."""
        hub_keys = [{"jwk": self.hub.public.jwk, "nbf": "2020-01-01T00:00:00Z", "exp": "2099-01-01T00:00:00Z"}]
        return [
            {"id": "hub", "kind": "hub", "sources": ["https://hub.example/tka"], "keys": hub_keys},
            member(self.ministry, "ministry", MINISTRY_TYPES),
            member(self.bri, "bank", BANK_TYPES, "002"),
        ]

    def register(
        self, revoked: str | None = None, *, roots: list[dict[str, Any]] | None = None, **changes: Any
    ) -> Registry:
        """Put the next registry version in force, with its leaves as the hub writes them.

        Under other `roots` than those of before it is Budi and Wayan who sign.
        """
        given = {"settings": {"environment": "demo", "log_origin": ORIGIN}, "participants": self.participants()}
        old = None if self.document is None else Registry.read(self.registries[-1][1], self.root.public)
        document = add_participants(given, self.now)(self.document)
        for party in document["participants"]:
            for key in party["keys"]:
                if key["kid"] == revoked:
                    key["revoked_at"] = write_instant(self.now)
        document["rule_sets"] = [
            {"id": row.id, "version": row.version, "sha256": row.sha256} for row in self.installed.rule_sets
        ]
        document["contracts"] = [{"type": t, "sha256": digest} for t, digest in self.installed.contracts.items()]
        document |= {"version": len(self.registries) + 1, "issued_at": write_instant(self.now), **changes}
        two = PERSONS["budi"], PERSONS["wayan"]
        jws = write_registry(document, self.root) if roots is None else sign_registry(document, roots, *two)
        registry = Registry.read(jws, self.root.public)
        index = self.append(entry.registry(version=registry.version, sha256=sha256(jws).hexdigest()))
        self.registries.append((index, jws))
        for row in self.installed.rule_sets if old is None else ():
            at = self.append(entry.rule_set(id=row.id, version=row.version, sha256=row.sha256))
            self.rule_sets.append((at, row.document))
        self._log_keys(old, registry)
        self.document = document
        return registry

    def register_alone(self) -> None:
        """Put a version into the log that one person signed, with two keys of hers: what an operator with one could."""
        self.now += timedelta(seconds=1)
        document = {**(self.document or {}), "version": len(self.registries) + 1, "issued_at": write_instant(self.now)}
        jws = sign_registry(document, roots_for(self.root), PERSONS["sari"], PERSONS["sari-2"])
        index = self.append(entry.registry(version=document["version"], sha256=sha256(jws).hexdigest()))
        self.registries.append((index, jws))

    def _log_keys(self, old: Registry | None, new: Registry) -> None:
        for root in new.roots[len(old.roots) if old else 0 :]:
            self.append(entry.root(version=root.version, sha256=root.sha256))
        for party in new.participants.values():
            for key in party.keys:
                before = None if old is None else old.key(key.kid)
                if before is None:
                    self.append(entry.key_added(participant=party.id, kid=key.kid, use=key.use))
                if key.revoked_at is not None and (before is None or before[1].revoked_at is None):
                    self.append(entry.key_revoked(participant=party.id, kid=key.kid, use=key.use))

    def accept(self, record: Record, **others: Any) -> Held:
        """Append an accepted message, whatever it is; `others` replace members of its entry."""
        assert record.value is not None
        envelope = read_envelope(record.value)
        jws = read_headers(record.headers).jws.decode()
        members: dict[str, Any] = {
            "source": envelope.source, "id": envelope.id, "type": envelope.type, "digest": envelope.digest,
            "kid": self.kid_of(record), "sig": jws.rpartition(".")[2], "received_at": self.now,
        }  # fmt: skip
        index = self.append(entry.accepted(**members | others))
        participant = record.topic.removeprefix("from.")
        event = read_event(envelope.type, envelope.data, envelope.subject)
        self.held.append(Held(index, record, facts_of(envelope, event, participant, index)))
        return self.held[-1]

    def kid_of(self, record: Record) -> str:
        """The key that a sender signs with now."""
        return (self.bri if record.topic == "from.bri" else self.ministry).key.kid

    def want(self) -> Wanted:
        """What the rules make of everything that was accepted."""
        rulebook = Rulebook(RuleSet.read(document.encode()) for _, document in self.rule_sets)
        wanted = decide(fold(held.fact for held in self.held), rulebook, self.now).recommendation
        assert wanted is not None
        return wanted

    def recommend(self, wanted: Wanted | None = None, state: Any = "issued", reason: Any = None, **others: Any) -> int:
        """Issue what is wanted, signed by the hub's real key; `others` replace members of its data."""
        wanted = wanted or self.want()
        (granted,) = [held for held in self.held if (held.fact.source, held.fact.id) == wanted.granted]
        assert granted.record.value is not None
        envelope = read_envelope(granted.record.value)
        personal = read_event(envelope.type, envelope.data).personal()
        assert personal is not None
        data = recommendation_data(wanted, personal, NUMBER, 1, state, reason) | others
        return self.say(data)

    def say(self, data: dict[str, Any], key: PrivateKey | None = None) -> int:
        """Append a recommendation that says `data`."""
        attributes: dict[str, Any] = {
            "id": f"r-{len(self.issued)}", "source": "https://hub.example/tka",
            "type": f"id.tka.hub.recommendation.{data['state']}.v1", "time": self.now, "recordedtime": self.now,
            "subject": data["application"], "audience": "demo/recommendations/0", "sequence": len(self.issued) + 1,
            "expirytime": self.now + timedelta(days=2), "correlationid": data["application"], "nonce": NONCE,
        }  # fmt: skip
        value = write_envelope(attributes, data)
        index = self.append(
            entry.recommendation(
                id=attributes["id"], case=data["application"], number=data["number"], revision=data["revision"],
                state=data["state"], digest=sha256(value).digest(),
            )
        )  # fmt: skip
        self.issued.append((index, value, sign_single(value, key or self.hub, TYP_RECOMMENDATION)))
        return index

    def checkpoint(self, size: int | None = None, cosigned_at: datetime | None = None, **others: Any) -> bytes:
        """The log's checkpoint, cosigned by the witness; `others` replace its origin or root."""
        size = len(self.entries) if size is None else size
        root = merkle.root([merkle.leaf_hash(one) for one in self.entries[:size]])
        said = Checkpoint(ORIGIN, size, root)._replace(**others)
        note = sign_checkpoint(said, self.log)
        time = int((cosigned_at or self.now).timestamp())
        return note.with_signatures([cosign_text(note.text, WITNESS, self.witness, time)]).write()

    def policy(self, quorum: int = 1) -> Policy:
        """Whom the oversight body believes."""
        log_key = VerifierKey.of(ORIGIN, Kind.ED25519, self.log.public)
        witness = VerifierKey.of(WITNESS, Kind.COSIGNATURE_V1, self.witness.public)
        return Policy(ORIGIN, (log_key,), (witness,), quorum)

    def trust(self, **others: Any) -> Trust:
        """What the oversight body trusts."""
        soon = self.now + timedelta(minutes=1)
        return replace(Trust(self.root.public, self.policy(), soon, 3_600, contracts=INSTALLED.contracts), **others)

    def path(self, index: int) -> list[bytes]:
        """The inclusion path of an entry."""
        return merkle.inclusion_path([merkle.leaf_hash(one) for one in self.entries], index)

    def leaf(self, index: int) -> Leaf:
        """An entry as a pack shows it."""
        return Leaf(index=index, entry=self.entries[index].decode(), path=write_path(self.path(index)))

    def proof(self, index: int) -> str:
        """The whole proof of a recommendation."""
        return Proof(index, tuple(self.path(index)), self.checkpoint()).write().decode()

    def pack(self, **others: Any) -> Pack:
        """The pack of everything; `others` replace members."""
        policy = self.policy()
        recommended = [
            Recommended(index=index, value=value.decode(), jws=jws, tlog_proof=self.proof(index))
            for index, value, jws in self.issued
        ]
        members: dict[str, Any] = {
            "format": "tkahub-pack/1", "origin": ORIGIN, "subject": APPLICATION,
            "exported_at": write_instant(self.now), "root_kid": self.root.kid,
            "policy": LogPolicy(
                log_keys=tuple(key.write() for key in policy.log_keys),
                witnesses=tuple(key.write() for key in policy.witnesses), quorum=1,
            ),
            "checkpoint": self.checkpoint().decode(),
            "leaves": tuple(map(self.leaf, range(len(self.entries)))),
            "recommendations": tuple(recommended),
            "messages": tuple(map(self.show, self.held)),
            "registries": tuple(Document(index=index, document=jws.decode()) for index, jws in self.registries),
            "rule_sets": tuple(Document(index=index, document=text) for index, text in self.rule_sets),
            "claims": self.claims(),
        }  # fmt: skip
        return Pack(**members | others)

    def show(self, held: Held) -> Message:
        """A message as a pack holds it."""
        record = held.record
        carried = read_headers(record.headers)
        assert record.value is not None
        return Message(
            index=held.index, append_time_ms=record.append_time_ms, value=record.value.decode(),
            jws=carried.jws.decode(), jws_proof=None if carried.proof is None else carried.proof.decode(),
        )  # fmt: skip

    def claims(self) -> tuple[Claim, ...]:
        """Each payment with the recommendation that rests on it."""
        return tuple(
            Claim(source=basis["source"], id=basis["id"], number=data["number"], index=index)
            for index, value, _ in self.issued
            for data in [read_envelope(value).data]
            for basis in data["basis"]
            if basis["role"] == "payment"
        )
