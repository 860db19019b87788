"""Signed notes: a text with the signatures of one or more keys, and the keys' own text form.

    <text, ending in a newline>
    <empty line>
    — <key name> <base64 of key id (4 bytes) and signature>

Source: https://c2sp.org/signed-note@v1.0.0, and for cosignatures https://c2sp.org/tlog-cosignature. Of the types of
signature two are known here, both Ed25519: the log's own (0x01) and a witness's timestamped cosignature (0x04).
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from contracts.errors import Refusal
from contracts.log.fault import Fault, Unproven
from contracts.wire import base64url
from contracts.wire.key import ED25519, SIGNATURE_BYTES, PublicKey, Signer

NOTE_BYTES_MAX = 262_144
SIGNATURES_MAX = 64
KEY_ID_BYTES = 4
TIMESTAMP_BYTES = 8
TIMESTAMP_MAX = 2**63 - 1
PUBLIC_KEY_BYTES = 32
# How many keys are remembered in the form that verifies, since to check that they are points of the curve is dear.
PUBLIC_KEYS_MAX = 256
COSIGNATURE_LABEL = b"cosignature/v1\n"

_MARK = "— "


class Kind(IntEnum):
    """The type of a signature, as its key's id and text carry it."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


def _malformed(detail: str) -> Unproven:
    return Unproven(Fault.NOTE_MALFORMED, detail)


def decode_base64(text: str) -> bytes | None:
    """Read standard base64 with padding in its one canonical form; None for anything else."""
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return raw if encode_base64(raw) == text else None


def encode_base64(raw: bytes) -> str:
    """Write standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def is_key_name(name: str) -> bool:
    """Whether `name` may name a key: not empty, no space of any kind, no plus, no control character."""
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


class SignatureLine(NamedTuple):
    """One signature of a note, of whatever type; `signature` is what follows the key's id."""

    name: str
    key_id: bytes
    signature: bytes

    def write(self) -> str:
        """Write the line, with its newline."""
        return f"{_MARK}{self.name} {encode_base64(self.key_id + self.signature)}\n"


class Note(NamedTuple):
    """A note as it was read: nothing in it is to be believed before a key that is known has verified it."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def write(self) -> bytes:
        """Write the note."""
        return f"{self.text}\n{''.join(line.write() for line in self.signatures)}".encode()

    def with_signatures(self, lines: Iterable[SignatureLine]) -> "Note":
        """Return the note with more signatures; one that it has already is not added again."""
        return Note(self.text, tuple(dict.fromkeys((*self.signatures, *lines))))


def read_note(raw: bytes) -> Note:
    """Read a note. Raises Unproven(note_malformed)."""
    if len(raw) > NOTE_BYTES_MAX:
        raise _malformed(f"larger than {NOTE_BYTES_MAX} bytes")
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("not UTF-8") from None
    if any(c < " " and c != "\n" for c in whole):
        raise _malformed("a control character")
    text, separator, below = whole.rpartition("\n\n")
    if not separator or not below:
        raise _malformed("no signatures below an empty line")
    return Note(f"{text}\n", read_signatures(below))


def read_signatures(lines: str) -> tuple[SignatureLine, ...]:
    """Read signature lines, each ended by a newline. Raises Unproven(note_malformed)."""
    if not lines.endswith("\n"):
        raise _malformed("the last line does not end")
    found = lines[:-1].split("\n")
    if len(found) > SIGNATURES_MAX:
        raise _malformed(f"more than {SIGNATURES_MAX} signatures")
    return tuple(map(_read_line, found))


def _read_line(line: str) -> SignatureLine:
    name, space, encoded = line.removeprefix(_MARK).partition(" ")
    raw = decode_base64(encoded)
    if not line.startswith(_MARK) or not space or not is_key_name(name) or raw is None or len(raw) <= KEY_ID_BYTES:
        raise _malformed("a signature line is not of its form")
    return SignatureLine(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def key_id_of(name: str, kind: int, public: bytes) -> bytes:
    """Return the key id that the note formats ask for: the first bytes of SHA-256(name, newline, type, public key)."""
    return sha256(f"{name}\n".encode() + bytes((kind,)) + public).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key that verifies notes: a name, a type of signature and an Ed25519 public key. Together they are its identity.

    Its text form is `<name>+<key id in hex>+<base64 of the type and the public key>`.
    """

    name: str
    kind: Kind
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise Unproven(Fault.VERIFIER_KEY_MALFORMED, "the name is none")
        # Also refuses what is no point of the curve, and the points under which almost anything verifies.
        _public_key(self.public)

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Read the text form. Raises Unproven(verifier_key_malformed)."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = decode_base64(encoded)
        if raw is None or len(raw) != 1 + PUBLIC_KEY_BYTES:
            raise Unproven(Fault.VERIFIER_KEY_MALFORMED, "not name, key id and 33 bytes of base64, with a plus between")
        if raw[0] not in (Kind.ED25519, Kind.COSIGNATURE_V1):
            raise Unproven(Fault.VERIFIER_KEY_MALFORMED, "a type of signature that is not known here")
        key = cls(name, Kind(raw[0]), raw[1:])
        if key_id != key.key_id.hex():
            raise Unproven(Fault.VERIFIER_KEY_MALFORMED, "the key id is not that of name and key")
        return key

    @classmethod
    def of(cls, name: str, kind: Kind, key: PublicKey) -> "VerifierKey":
        """Return the verifier of an Ed25519 key. Raises Unproven(verifier_key_malformed)."""
        raw = base64url.decode(key.jwk["x"].encode())
        if key.alg != ED25519 or raw is None:
            raise Unproven(Fault.VERIFIER_KEY_MALFORMED, "the key is not an Ed25519 key")
        return cls(name, kind, raw)

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line names this key."""
        return key_id_of(self.name, self.kind, self.public)

    def write(self) -> str:
        """Write the text form."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes((self.kind,)) + self.public)}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether `signature` (what follows the key id in its line) is this key's over the note's `text`."""
        if self.kind is Kind.ED25519:
            return _public_key(self.public).verify(signature, text.encode())
        if len(signature) != TIMESTAMP_BYTES + SIGNATURE_BYTES or timestamp_of(signature) > TIMESTAMP_MAX:
            return False
        message = _cosigned(text, timestamp_of(signature))
        return _public_key(self.public).verify(signature[TIMESTAMP_BYTES:], message)


@lru_cache(maxsize=PUBLIC_KEYS_MAX)
def _public_key(raw: bytes) -> PublicKey:
    try:
        return PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(raw)})
    except Refusal as error:
        raise Unproven(Fault.VERIFIER_KEY_MALFORMED, error.detail) from None


def timestamp_of(cosignature: bytes) -> int:
    """Return the POSIX seconds at which a cosignature (without its key id) says that it was made."""
    return int.from_bytes(cosignature[:TIMESTAMP_BYTES])


def _cosigned(text: str, timestamp: int) -> bytes:
    return COSIGNATURE_LABEL + b"time %d\n" % timestamp + text.encode()


def sign_text(text: str, name: str, key: Signer) -> SignatureLine:
    """Sign a note's text as the log does (type 0x01)."""
    verifier = VerifierKey.of(name, Kind.ED25519, key.public)
    return SignatureLine(name, verifier.key_id, key.sign(text.encode()))


def cosign_text(text: str, name: str, key: Signer, timestamp: int) -> SignatureLine:
    """Cosign a checkpoint's text as a witness does (type 0x04), at `timestamp` in POSIX seconds."""
    if not 0 < timestamp <= TIMESTAMP_MAX:
        raise ValueError("a cosignature's time is after 1970")
    verifier = VerifierKey.of(name, Kind.COSIGNATURE_V1, key.public)
    return SignatureLine(
        name, verifier.key_id, timestamp.to_bytes(TIMESTAMP_BYTES) + key.sign(_cosigned(text, timestamp))
    )


def signatures_of(note: Note, key: VerifierKey) -> list[bytes]:
    """Return what `key` signed of this note, each verified; empty if it signed nothing.

    Raises Unproven(signature_invalid) if a line names this key and does not verify: such a note is not to be used.
    """
    found = [line.signature for line in note.signatures if (line.name, line.key_id) == (key.name, key.key_id)]
    if not all(key.verify(note.text, signature) for signature in found):
        raise Unproven(Fault.SIGNATURE_INVALID, f"of {key.name}")
    return found


def verified_by(note: Note, keys: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Return those of `keys` that signed this note. Raises Unproven(signature_invalid)."""
    return [key for key in keys if signatures_of(note, key)]
