"""The pack of one case: one JSON file that holds everything a recheck needs, so that no network or database is asked.

Nothing in it is believed because it stands there. Texts that were hashed or signed stand in it as they were.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from contracts import merkle
from contracts.log.checkpoint import read_hash
from contracts.log.note import encode_base64

FORMAT = "tkahub-pack/1"
PACK_BYTES_MAX = 64 * 1024 * 1024
Ascii = Annotated[str, StringConstraints(pattern=r"^[!-~]*$")]
Index = Annotated[int, Field(ge=0, le=2**63 - 1)]


#: The last millisecond that a calendar knows.
INSTANT_MS_MAX = 253_402_300_799_999


class PackMalformed(ValueError):
    """The file is no pack; the message names the place and never a value, since a value may be a person's."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Leaf(_Part):
    """An entry of the log, and its inclusion path up to the pack's checkpoint, lowest first, in base64."""

    index: Index
    entry: str
    path: tuple[str, ...]

    def leads_to(self, size: int, root: bytes) -> bool:
        """Whether the entry stands at its index in the log of this size and root."""
        path = [read_hash(text) for text in self.path]
        known = [digest for digest in path if digest is not None]
        if len(known) != len(path):
            return False
        return merkle.verify_inclusion(merkle.leaf_hash(self.entry.encode()), self.index, size, known, root)


class Message(_Part):
    """An accepted message at its log index, with the headers that signed it.

    After an erasure `value` is null, and `fact` holds what the fold reads of it: the compact form of a case's fact.
    """

    index: Index
    append_time_ms: Annotated[int, Field(ge=0, le=INSTANT_MS_MAX)]
    value: str | None
    jws: Ascii
    jws_proof: Ascii | None = None
    fact: list[Any] | None = None


class Recommended(_Part):
    """A recommendation as it was issued or withdrawn; `tlog_proof` is a whole proof in the form of C2SP tlog-proof."""

    index: Index
    value: str
    jws: Ascii | None
    tlog_proof: str | None


class Document(_Part):
    """A document that the log names by its digest: a signed registry, or a rule set's TOML."""

    index: Index
    document: str


class Claim(_Part):
    """A payment, and a recommendation that rests on it: its number and log index."""

    source: str
    id: str
    number: str
    index: Index


class LogPolicy(_Part):
    """Whom the hub says to believe about its log. The one who checks has a policy of his own."""

    log_keys: tuple[str, ...]
    witnesses: tuple[str, ...]
    quorum: Annotated[int, Field(ge=0)]


class Pack(_Part):
    """Everything about one case. `subject` is its number, or a billing code that no case has claimed."""

    format: Literal["tkahub-pack/1"]
    origin: str
    subject: str
    exported_at: str
    root_kid: str
    policy: LogPolicy
    checkpoint: str
    leaves: tuple[Leaf, ...]
    recommendations: tuple[Recommended, ...]
    messages: tuple[Message, ...]
    registries: tuple[Document, ...]
    rule_sets: tuple[Document, ...]
    claims: tuple[Claim, ...]


def read_pack(raw: bytes) -> Pack:
    """Read a pack. Raises PackMalformed."""
    if len(raw) > PACK_BYTES_MAX:
        raise PackMalformed(f"larger than {PACK_BYTES_MAX} bytes")
    try:
        return Pack.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise PackMalformed(f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['type']}") from None


def write_pack(pack: Pack) -> bytes:
    """Write a pack, a member a line, so that people can look into it."""
    return pack.model_dump_json(indent=1).encode() + b"\n"


def write_path(path: list[bytes]) -> tuple[str, ...]:
    """Write an inclusion path as a pack holds it."""
    return tuple(map(encode_base64, path))
