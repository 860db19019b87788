"""Signatures over the exact bytes of a value: one for one message, or one for a batch (SPEC.md section 4).

    headers -> Carried            which header stands once, which may not stand at all
    Carried.jws -> Signature      protected header, key, and for a batch the statement and this value's path

"Is the signature good?" is answered here; "may this signer say this?" is admission's question.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from contracts import merkle
from contracts.errors import Code, Refusal
from contracts.wire import base64url
from contracts.wire.envelope import VALUE_BYTES_MAX, write_sequence
from contracts.wire.instant import read_instant, write_instant
from contracts.wire.key import ALGORITHMS, SIGNATURE_BYTES, PublicKey, Signer
from contracts.wire.record import Headers
from contracts.wire.strict_json import read_object

CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
TYP_EVENT = "tkahub-event+jws"
TYP_BATCH = "tkahub-batch+jws"
TYP_RECOMMENDATION = "tkahub-recommendation+jws"
RECOMMENDATION_TYPE_PREFIX = "id.tka.hub.recommendation."
VDS = "RFC9162_SHA256"
NO_PREVIOUS_ROOT = bytes(merkle.HASH_BYTES)

BATCH_SIZE_MAX = 64
JWS_BYTES_MAX = 4096
TLOG_PROOF_BYTES_MAX = 16 * 1024
HEADERS_MAX = 32
ROOTS_MAX = 4096

_TYPS = frozenset((TYP_EVENT, TYP_BATCH, TYP_RECOMMENDATION))
_P_MEMBERS = {"alg", "kid", "typ"}
_STATEMENT_MEMBERS = {"vds", "iss", "aud", "size", "root", "first", "last", "prev", "iat"}
_KNOWN_HEADERS = frozenset(("content-type", "jws", "jws-proof", "hub-seq", "tlog-proof", "traceparent"))
_MODE_CONFUSION_PREFIX = "ce_"

_IS_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch
_IS_HUB_SEQ = re.compile(rb"[1-9][0-9]{0,18}").fullmatch
_IS_SEQUENCE = re.compile(r"[0-9]{20}").fullmatch
_IS_PARTY = re.compile(r"[!-~]{1,256}").fullmatch
_PROOF = re.compile(rb"(0|[1-9][0-9]?)\.([A-Za-z0-9_-]{0,256})").fullmatch


class Carried(NamedTuple):
    """The headers of a record that mean something, each found at most once."""

    jws: bytes
    proof: bytes | None
    hub_seq: int | None
    tlog_proof: bytes | None


class BatchStatement(NamedTuple):
    """What the signer of a batch says of it; `prev` is the root of the batch before it, all zero for the first."""

    iss: str
    aud: str
    size: int
    root: bytes
    first: int
    last: int
    prev: bytes
    iat: datetime


class Signature(NamedTuple):
    """A signature that verified. `jws` and `proof` are the headers as they came; they are forwarded as they are."""

    kid: str
    alg: str
    typ: str
    jws: str
    proof: str | None
    statement: BatchStatement | None

    @property
    def sig(self) -> str:
        """The signature itself in base64url, as the evidence leaf quotes it."""
        return self.jws.rpartition(".")[2]


FindKey = Callable[[str], PublicKey | None]


class VerifiedRoots:
    """A bounded memory of batch signatures that verified, keyed by the whole JWS.

    Only the signature over the statement is remembered. Every message's own path is walked each time: remembering
    inner nodes would let a truncated path pass.
    """

    __slots__ = ("_by_jws", "_roots_max")

    def __init__(self, roots_max: int = ROOTS_MAX) -> None:
        self._by_jws: dict[bytes, tuple[str, str, str, BatchStatement]] = {}
        self._roots_max = roots_max

    def __len__(self) -> int:
        return len(self._by_jws)

    def find(self, jws: bytes) -> tuple[str, str, str, BatchStatement] | None:
        """The (kid, alg, jws, statement) of a batch JWS that verified before."""
        return self._by_jws.get(jws)

    def keep(self, jws: bytes, kid: str, alg: str, statement: BatchStatement) -> None:
        """Remember a batch JWS that has just verified; the oldest is forgotten when there are too many."""
        if len(self._by_jws) >= self._roots_max:
            del self._by_jws[next(iter(self._by_jws))]
        self._by_jws[jws] = (kid, alg, jws.decode("ascii"), statement)

    def drop(self, kid: str) -> None:
        """Forget everything that was signed by this key: it has been revoked."""
        self._by_jws = {jws: root for jws, root in self._by_jws.items() if root[0] != kid}


def read_headers(headers: Headers) -> Carried:
    """Find the headers that matter. Raises Refusal (header_*)."""
    if len(headers) > HEADERS_MAX:
        raise Refusal(Code.HEADER_INVALID, f"more than {HEADERS_MAX} headers")
    found: dict[str, bytes | None] = {}
    for name, raw in headers:
        if name in found:
            raise Refusal(Code.HEADER_DUPLICATE, name if name in _KNOWN_HEADERS else "")
        if name not in _KNOWN_HEADERS:
            lowered = name.lower()
            if lowered.startswith(_MODE_CONFUSION_PREFIX) or lowered in _KNOWN_HEADERS:
                raise Refusal(Code.HEADER_FORBIDDEN)
            if not _is_utf8(name):
                raise Refusal(Code.HEADER_INVALID, "a name is not UTF-8")
        found[name] = raw
    jws = found.get("jws")
    if jws is None or "content-type" not in found:
        raise Refusal(Code.HEADER_MISSING, "content-type" if "content-type" not in found else "jws")
    if found["content-type"] != CONTENT_TYPE:
        raise Refusal(Code.HEADER_INVALID, "content-type")
    if len(found) == 2:
        return Carried(jws, None, None, None)
    return Carried(jws, _present(found, "jws-proof"), _hub_seq(found), _tlog_proof(found))


def _is_utf8(name: str) -> bool:
    """Whether a reader that is strict about a header's name would find this one; others hand over escaped bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _present(found: dict[str, bytes | None], name: str) -> bytes | None:
    raw = found.get(name)
    if raw is None and name in found:
        raise Refusal(Code.HEADER_INVALID, name)
    return raw


def _hub_seq(found: dict[str, bytes | None]) -> int | None:
    raw = _present(found, "hub-seq")
    if raw is None:
        return None
    if _IS_HUB_SEQ(raw) is None:
        raise Refusal(Code.HEADER_INVALID, "hub-seq")
    return int(raw)


def _tlog_proof(found: dict[str, bytes | None]) -> bytes | None:
    raw = _present(found, "tlog-proof")
    if raw is not None and not 1 <= len(raw) <= TLOG_PROOF_BYTES_MAX:
        raise Refusal(Code.HEADER_INVALID, "tlog-proof")
    return raw


def verify_signature(value: bytes, headers: Headers, find_key: FindKey, roots: VerifiedRoots) -> Signature:
    """Verify what the headers claim about these bytes.

    `find_key` gives the public key of a kid out of the registry. Raises Refusal: value_too_large, header_*, jws_*,
    key_unknown, batch_* or signature_invalid.
    """
    if len(value) > VALUE_BYTES_MAX:
        raise Refusal(Code.VALUE_TOO_LARGE)
    return verify_carried(value, read_headers(headers), find_key, roots)


def verify_carried(value: bytes, carried: Carried, find_key: FindKey, roots: VerifiedRoots) -> Signature:
    """As `verify_signature`, for headers already read."""
    known = roots.find(carried.jws)
    if known is None:
        return _verify_new(value, carried, find_key, roots)
    kid, alg, jws, statement = known
    if find_key(kid) is None:
        raise Refusal(Code.KEY_UNKNOWN)
    return Signature(kid, alg, TYP_BATCH, jws, _verify_proof(value, carried.proof, statement), statement)


def _verify_new(value: bytes, carried: Carried, find_key: FindKey, roots: VerifiedRoots) -> Signature:
    """Verify a JWS that is not in the memory of roots, in the order of SPEC.md section 4.4."""
    protected, payload, signature = _split_jws(carried.jws)
    alg, kid, typ = read_protected(protected)
    if typ == TYP_BATCH:
        if carried.proof is None:
            raise Refusal(Code.BATCH_PROOF_MISSING)
    elif payload:
        raise Refusal(Code.JWS_PAYLOAD_ATTACHED)
    elif carried.proof is not None:
        raise Refusal(Code.BATCH_PROOF_UNEXPECTED)
    key = find_key(kid)
    if key is None:
        raise Refusal(Code.KEY_UNKNOWN)
    if key.alg != alg:
        raise Refusal(Code.JWS_ALG_FORBIDDEN)
    raw = base64url.decode(signature)
    if raw is None:
        raise Refusal(Code.JWS_MALFORMED, "the signature is not canonical base64url")
    if len(raw) != SIGNATURE_BYTES:
        raise Refusal(Code.SIGNATURE_INVALID, f"not {SIGNATURE_BYTES} bytes")
    statement = _read_statement(payload) if typ == TYP_BATCH else None
    signed = payload if statement is not None else base64url.encode(value).encode("ascii")
    if not key.verify(raw, protected + b"." + signed):
        raise Refusal(Code.SIGNATURE_INVALID)
    if statement is None:
        return Signature(kid, alg, typ, carried.jws.decode("ascii"), None, None)
    roots.keep(carried.jws, kid, alg, statement)
    proof = _verify_proof(value, carried.proof, statement)
    return Signature(kid, alg, typ, carried.jws.decode("ascii"), proof, statement)


def _split_jws(jws: bytes) -> tuple[bytes, bytes, bytes]:
    if len(jws) > JWS_BYTES_MAX:
        raise Refusal(Code.JWS_MALFORMED, f"longer than {JWS_BYTES_MAX} bytes")
    parts = jws.split(b".")
    if len(parts) != 3:
        raise Refusal(Code.JWS_MALFORMED, "not three parts")
    return parts[0], parts[1], parts[2]


def read_protected(protected: bytes) -> tuple[str, str, str]:
    """Read P, the protected header: any JSON text of exactly alg, kid and typ. Raises Refusal (jws_*)."""
    raw = base64url.decode(protected)
    if raw is None:
        raise Refusal(Code.JWS_MALFORMED, "the protected header is not canonical base64url")
    try:
        header = read_object(raw)
    except Refusal as error:
        raise Refusal(Code.JWS_HEADER_INVALID, str(error.code)) from None
    if header.keys() != _P_MEMBERS:
        raise Refusal(Code.JWS_HEADER_INVALID, "not exactly alg, kid and typ")
    alg, kid, typ = header["alg"], header["kid"], header["typ"]
    if alg not in ALGORITHMS:
        raise Refusal(Code.JWS_ALG_FORBIDDEN)
    if type(kid) is not str or _IS_THUMBPRINT(kid) is None:
        raise Refusal(Code.JWS_HEADER_INVALID, "kid is not a thumbprint")
    if type(typ) is not str or typ not in _TYPS:
        raise Refusal(Code.JWS_TYP_WRONG)
    return alg, kid, typ


def _statement_hash(text: object, name: str) -> bytes:
    raw = base64url.decode(text.encode("utf-8")) if type(text) is str else None
    if raw is None or len(raw) != merkle.HASH_BYTES:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, name)
    return raw


def _read_statement(payload: bytes) -> BatchStatement:
    """Read the statement of a batch: any JSON text of exactly its members. Raises Refusal (batch_*)."""
    raw = base64url.decode(payload)
    if not raw:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "no statement in canonical base64url")
    try:
        said = read_object(raw)
    except Refusal as error:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, str(error.code)) from None
    if said.keys() != _STATEMENT_MEMBERS:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "wrong members")
    if said["vds"] != VDS:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "vds")
    for name, fits in (("iss", _IS_PARTY), ("aud", _IS_PARTY), ("first", _IS_SEQUENCE), ("last", _IS_SEQUENCE)):
        if type(said[name]) is not str or fits(said[name]) is None:
            raise Refusal(Code.BATCH_STATEMENT_INVALID, name)
    size, first, last = said["size"], int(said["first"]), int(said["last"])
    if type(size) is not int or not 1 <= size <= BATCH_SIZE_MAX:
        raise Refusal(Code.BATCH_SIZE_INVALID)
    # A path can fit a size that is not the tree's, so the size must also be one that the sequences leave room for.
    if size > last - first + 1:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "size is larger than first to last")
    root, prev = _statement_hash(said["root"], "root"), _statement_hash(said["prev"], "prev")
    try:
        issued = read_instant(said["iat"]) if type(said["iat"]) is str else None
    except ValueError:
        issued = None
    if issued is None:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "iat")
    return BatchStatement(said["iss"], said["aud"], size, root, first, last, prev, issued)


def _verify_proof(value: bytes, proof: bytes | None, statement: BatchStatement) -> str:
    """Walk from the value to the signed root. Raises Refusal (batch_proof_*)."""
    if proof is None:
        raise Refusal(Code.BATCH_PROOF_MISSING)
    match = _PROOF(proof)
    path = base64url.decode(match[2]) if match is not None else None
    if match is None or path is None or len(path) % merkle.HASH_BYTES:
        raise Refusal(Code.BATCH_PROOF_INVALID, "not an index and a path")
    siblings = [path[at : at + merkle.HASH_BYTES] for at in range(0, len(path), merkle.HASH_BYTES)]
    leaf = merkle.leaf_hash(value)
    if merkle.root_of_path(leaf, int(match[1]), statement.size, siblings) != statement.root:
        raise Refusal(Code.BATCH_PROOF_INVALID)
    return proof.decode("ascii")


def check_typ(signature: Signature, event_type: object) -> None:
    """Refuse a typ that is not this event's: recommendations have one of their own, singly signed.

    Without this, an event could be passed off as a recommendation, or the other way round. Raises Refusal.
    """
    is_recommendation = isinstance(event_type, str) and event_type.startswith(RECOMMENDATION_TYPE_PREFIX)
    if is_recommendation != (signature.typ == TYP_RECOMMENDATION):
        raise Refusal(Code.JWS_TYP_WRONG, "typ and event type do not fit")


def _protected(key: Signer, typ: str) -> bytes:
    return base64url.encode(f'{{"alg":"{key.alg}","kid":"{key.kid}","typ":"{typ}"}}'.encode("ascii")).encode("ascii")


def sign_single(value: bytes, key: Signer, typ: str = TYP_EVENT) -> str:
    """Sign one value: the detached compact JWS (RFC 7515 appendix F)."""
    protected = _protected(key, typ)
    signature = key.sign(protected + b"." + base64url.encode(value).encode("ascii"))
    return f"{protected.decode('ascii')}..{base64url.encode(signature)}"


def sign_batch(
    values: Sequence[bytes],
    key: Signer,
    *,
    iss: str,
    aud: str,
    first: int,
    last: int,
    prev: bytes,
    iat: datetime,
) -> tuple[str, list[str]]:
    """Sign 1 to BATCH_SIZE_MAX values at once: the batch's compact JWS, and one jws-proof for each value.

    `first` and `last` are the lowest and highest sequence among the values, `prev` the 32-byte root of the batch
    signed before (NO_PREVIOUS_ROOT for the first). Raises ValueError on a batch that nobody would accept.
    """
    if not 1 <= len(values) <= min(BATCH_SIZE_MAX, last - first + 1) or len(prev) != merkle.HASH_BYTES:
        raise ValueError("a batch of this size, range or prev would be refused")
    tree = merkle.levels([merkle.leaf_hash(value) for value in values])
    statement = (
        f'{{"vds":"{VDS}","iss":"{iss}","aud":"{aud}","size":{len(values)},"root":"{base64url.encode(tree[-1][0])}",'
        f'"first":"{write_sequence(first)}","last":"{write_sequence(last)}","prev":"{base64url.encode(prev)}",'
        f'"iat":"{write_instant(iat)}"}}'
    )
    signed = _protected(key, TYP_BATCH) + b"." + base64url.encode(statement.encode("utf-8")).encode("ascii")
    jws = f"{signed.decode('ascii')}.{base64url.encode(key.sign(signed))}"
    return jws, [f"{index}.{_path_text(tree, index)}" for index in range(len(values))]


def _path_text(tree: Sequence[Sequence[bytes]], index: int) -> str:
    return base64url.encode(b"".join(merkle.path_in(tree, index)))


def root_of(jws: str) -> bytes:
    """The root that a batch JWS signs, for the next batch's `prev`. Raises Refusal if it is no batch JWS."""
    return _read_statement(_split_jws(jws.encode("ascii"))[1]).root


def headers_of(jws: str, proof: str | None, others: Iterable[tuple[str, bytes]] = ()) -> Headers:
    """The headers of a signed record, in the order of SPEC.md."""
    signed: list[tuple[str, bytes | None]] = [("content-type", CONTENT_TYPE), ("jws", jws.encode("ascii"))]
    if proof is not None:
        signed.append(("jws-proof", proof.encode("ascii")))
    return (*signed, *others)


def check_statement(signature: Signature, source: object, audience: object, sequence: int) -> None:
    """Refuse a batch that was made for another source or audience than the event names, or for other sequences.

    Gaps and overlaps of ranges are no reason to refuse. A message outside its own batch's range is another matter: the
    signer itself says that no such message is in this batch. Raises Refusal(batch_statement_invalid).
    """
    said = signature.statement
    if said is None:
        return
    if source != said.iss or audience != said.aud:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "iss or aud is not the event's source or audience")
    if not said.first <= sequence <= said.last:
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "the event's sequence is not within first to last")


def check_proof(signature: Signature, carried: Carried, proof_required: bool) -> None:
    """Refuse a recommendation that carries no proof of its place in the evidence log where the registry asks for one.

    Relay and recipient ask this alike. Raises Refusal(proof_missing).
    """
    if proof_required and signature.typ == TYP_RECOMMENDATION and carried.tlog_proof is None:
        raise Refusal(Code.PROOF_MISSING)
