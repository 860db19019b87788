"""Judge a vector: the same functions that the exchange runs, and a verdict with its code. Pure.

Three kinds of vector are told apart by their members (SPEC.md section 11):

    jwk, value, headers    the signature layer and the strict reading of the value, nothing else
    records                whole records of a sender's topic, or of a hub's, in order, with what was accepted remembered
    documents              registry documents, each read and then compared with the one before
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.admission import FROM_PREFIX, Admitted, Deferred, Refused, admit
from contracts.errors import Code, Refusal
from contracts.log import entry as log_entry
from contracts.log import proof as log_proof
from contracts.log.fault import Unproven
from contracts.registry import Registry, check_successor
from contracts.wire import base64url
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.key import PublicKey
from contracts.wire.record import Headers, Record
from contracts.wire.signature import (
    TYP_RECOMMENDATION,
    Carried,
    Signature,
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
#: The code of what is no vector at all: the file's fault, so it is none of the exchange's refusal codes.
VECTOR_MALFORMED = "vector_malformed"

_IS_SEQUENCE = re.compile(r"[0-9]{20}").fullmatch

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
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("nested deeper than any vector file") from None
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"neither an array of vectors nor an object of format {FORMAT}")
    shared = {"root": document.get("root"), "registries": document.get("registries")}
    vectors = document.get("vectors")
    if not isinstance(vectors, list):
        raise ValueError("no array of vectors")
    return [{**shared, **vector} if isinstance(vector, dict) else vector for vector in vectors]


def judge_each(vectors: list[Vector]) -> Iterator[Judgement]:
    """Judge vectors one by one: what is no vector is refused as such, by its place if it has no name."""
    for place, vector in enumerate(vectors, start=1):
        try:
            yield judge(vector)
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
            name = vector.get("name") if isinstance(vector, dict) else None
            name = name if isinstance(name, str) else f"vector {place}"
            yield Judgement(name, "refuse", VECTOR_MALFORMED, "refused")


def judge(vector: Vector) -> Judgement:
    """Judge one vector. Of several records or documents the last decides; those before it lead up to it.

    Raises LookupError, TypeError, AttributeError or ValueError if it is not a vector.
    """
    if not isinstance(vector["name"], str):
        raise TypeError("a vector's name is a text")
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


def _headers(pairs: list[list[str | None]]) -> Headers:
    """Read headers as a vector spells them: text, or null for a header without a value. Raises Refusal."""
    return tuple((_header_text(name, "a name"), _header_bytes(content)) for name, content in pairs)


def _header_text(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise Refusal(Code.HEADER_INVALID, f"{what} is no text")
    return text


def _header_bytes(content: object) -> bytes | None:
    if content is None:
        return None
    try:
        return _header_text(content, "a value").encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(Code.HEADER_INVALID, "a value holds a lone surrogate, which are no bytes") from None


def _read_signed(vector: Vector) -> None:
    """Verify a signature and read the value strictly; its attributes are not looked at. Raises Refusal."""
    value = _bytes(vector["value"])
    key = PublicKey.from_jwk(vector["jwk"])
    if value is None:
        raise Refusal(Code.RECORD_TOMBSTONE)
    signature = verify_signature(value, _headers(vector["headers"]), {key.kid: key}.get, VerifiedRoots())
    event = read_object(value)
    check_typ(signature, event.get("type"))
    _check_named(signature, event)


def _check_named(signature: Signature, event: Mapping[str, Any]) -> None:
    """Compare with a batch's statement the attributes that the value has, though null or malformed. Raises Refusal."""
    said = signature.statement
    if said is None:
        return
    sequence = event.get("sequence", f"{said.first:020d}")
    readable = isinstance(sequence, str) and _IS_SEQUENCE(sequence)
    source, audience = event.get("source", said.iss), event.get("audience", said.aud)
    check_statement(signature, source, audience, int(sequence) if readable else -1)


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
    """Judge what the hub sends: signature, envelope, typ, and a recommendation's proof where it is required."""
    try:
        if record.value is None:
            raise Refusal(Code.RECORD_TOMBSTONE)
        carried = read_headers(record.headers)
        signature = verify_carried(record.value, carried, registry.message_key, roots)
        envelope = read_envelope(record.value)
        check_typ(signature, envelope.type)
        check_proof(signature, carried, registry.proof_required)
        if registry.proof_required and signature.typ == TYP_RECOMMENDATION:
            _check_inclusion(carried, envelope, registry)
        return memory.meet(envelope), None
    except Refusal as refusal:
        return "refused", refusal.code


def _check_inclusion(carried: Carried, envelope: Envelope, registry: Registry) -> None:
    """Refuse a recommendation whose proof does not show it in the registry's log; no clock is asked. Raises Refusal."""
    try:
        proof = carried.tlog_proof or b""
        policy = registry.log_of(log_proof.read_proof(proof).origin)
        log_proof.check_proof(proof, log_entry.recommendation_of(envelope), policy)
    except Unproven as error:
        raise Refusal(Code.PROOF_INVALID, str(error)) from None
    except ValueError as error:
        raise Refusal(Code.DATA_INVALID, str(error)) from None
