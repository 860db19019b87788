"""Judge a vector: the same functions that the exchange runs, and a verdict with its code. Pure.

Three kinds of vector are told apart by their members (SPEC.md section 11):

    jwk, value, headers    the signature layer and the strict reading of the value, nothing else
    records                whole records of a sender's topic, or of a hub's, in order, with what was accepted remembered
    documents              registry documents, each read and then compared with the one before
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.admission import FROM_PREFIX, Admitted, Deferred, Refused, admit
from contracts.errors import Code, Refusal
from contracts.registry import Registry, check_successor
from contracts.wire import base64url
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.key import PublicKey
from contracts.wire.record import Headers, Record
from contracts.wire.signature import (
    VerifiedRoots,
    check_proof,
    check_statement,
    check_typ,
    read_headers,
    verify_carried,
    verify_signature,
)
from contracts.wire.strict_json import read_object

FORMAT = "tkahub-vectors/1"

Vector = Mapping[str, Any]
Disposition = Literal["accepted", "duplicate", "refused", "deferred"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came out: `code` is None for what is accepted, and what would be deferred counts as refused."""

    name: str
    verdict: Literal["accept", "refuse"]
    code: str | None
    disposition: Disposition


@dataclass(slots=True)
class _Memory:
    """What an inbox remembers of accepted events, to tell a repeat from a contradiction."""

    digests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    ids: dict[tuple[str, int], str] = field(default_factory=dict)

    def meet(self, envelope: Envelope) -> Disposition:
        """Remember an admitted event. Raises Refusal (equivocation, sequence_reused)."""
        identity, place = (envelope.source, envelope.id), (envelope.source, envelope.sequence)
        digest = self.digests.get(identity)
        if digest is not None:
            if digest != envelope.digest:
                raise Refusal(Code.EQUIVOCATION)
            return "duplicate"
        if place in self.ids:
            raise Refusal(Code.SEQUENCE_REUSED)
        self.digests[identity], self.ids[place] = envelope.digest, envelope.id
        return "accepted"


def read_vectors(text: bytes) -> list[Vector]:
    """Read a vector file: a JSON array of vectors, or an object that also has the registries they name.

    A vector that names a registry is given its document and root key. Raises ValueError on any other file.
    """
    document = json.loads(text)
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"neither an array of vectors nor an object of format {FORMAT}")
    shared = {"root": document["root"], "registries": document["registries"]}
    return [{**shared, **vector} for vector in document["vectors"]]


def judge(vector: Vector) -> Judgement:
    """Judge one vector. Of several records or documents the last decides; those before it lead up to it.

    Raises KeyError or ValueError if it is not a vector.
    """
    if "records" in vector:
        return list(judge_records(vector))[-1]
    try:
        if "documents" in vector:
            _read_documents(vector)
        else:
            _read_signed(vector)
    except Refusal as refusal:
        return Judgement(vector["name"], "refuse", str(refusal.code), "refused")
    return Judgement(vector["name"], "accept", None, "accepted")


def _bytes(text: str | None) -> bytes | None:
    raw = None if text is None else base64url.decode(text.encode("ascii"))
    if raw is None and text is not None:
        raise ValueError("bytes in a vector are spelled in canonical base64url")
    return raw


def _headers(pairs: list[list[str]]) -> Headers:
    return tuple((name, content.encode("utf-8")) for name, content in pairs)


def _read_signed(vector: Vector) -> None:
    """Verify a signature and read the value strictly; its attributes are not looked at. Raises Refusal."""
    key = PublicKey.from_jwk(vector["jwk"])
    value = _bytes(vector["value"])
    if value is None:
        raise Refusal(Code.RECORD_TOMBSTONE)
    signature = verify_signature(value, _headers(vector["headers"]), {key.kid: key}.get, VerifiedRoots())
    event = read_object(value)
    check_typ(signature, event.get("type"))
    check_statement(signature, event.get("source"), event.get("audience"))


def _read_documents(vector: Vector) -> None:
    """Read registry documents one after the other under one root key. Raises Refusal."""
    root = PublicKey.from_jwk(vector["root"])
    in_force: Registry | None = None
    for document in vector["documents"]:
        registry = Registry.read(document.encode("ascii"), root)
        if in_force is not None:
            check_successor(in_force, registry)
        in_force = registry


def judge_records(vector: Vector) -> Iterator[Judgement]:
    """Judge the records of a vector in order, with one memory of roots and of accepted events."""
    root = PublicKey.from_jwk(vector["root"])
    memory, roots = _Memory(), VerifiedRoots()
    for entry in vector["records"]:
        document = vector["registries"][entry.get("registry", vector.get("registry"))]
        registry = Registry.read(document.encode("ascii"), root)
        record = _record_of(entry)
        judge_one = _judge_sent if record.topic.startswith(FROM_PREFIX) else _judge_delivered
        disposition, code = judge_one(record, registry, roots, memory)
        verdict: Literal["accept", "refuse"] = "accept" if code is None else "refuse"
        yield Judgement(vector["name"], verdict, None if code is None else str(code), disposition)


def _record_of(entry: Mapping[str, Any]) -> Record:
    return Record(
        topic=entry["topic"],
        partition=entry["partition"],
        offset=entry["offset"],
        key=_bytes(entry["key"]),
        value=_bytes(entry["value"]),
        headers=_headers(entry["headers"]),
        append_time_ms=entry["append_time_ms"],
    )


def _judge_sent(
    record: Record, registry: Registry, roots: VerifiedRoots, memory: _Memory
) -> tuple[Disposition, Code | None]:
    verdict = admit(record, registry, roots)
    match verdict:
        case Admitted():
            try:
                return memory.meet(verdict.envelope), None
            except Refusal as refusal:
                return "refused", refusal.code
        case Deferred():
            return "deferred", verdict.code
        case Refused():
            return "refused", verdict.code


def _judge_delivered(
    record: Record, registry: Registry, roots: VerifiedRoots, memory: _Memory
) -> tuple[Disposition, Code | None]:
    """Judge what the hub sends, as far as the proof: signature, envelope, typ, and the proof where it is required."""
    try:
        if record.value is None:
            raise Refusal(Code.RECORD_TOMBSTONE)
        carried = read_headers(record.headers)
        signature = verify_carried(record.value, carried, registry.message_key, roots)
        envelope = read_envelope(record.value)
        check_typ(signature, envelope.type)
        check_proof(signature, carried, registry.proof_required)
        return memory.meet(envelope), None
    except Refusal as refusal:
        return "refused", refusal.code
