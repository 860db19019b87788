"""Inputs made from seeds, as a fuzzer makes them; the same seed number gives the same inputs.

Half of them are damaged anywhere; the others keep the form of JSON or XML and change what stands in it, so that the
rules behind the parser are reached too.
"""

import random
import re
from collections.abc import Sequence
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"
CHANGES_MAX = 4
REPEATS_MAX = 64
INPUT_BYTES_MAX = 16_384

#: What breaks readers: signs of JSON and XML, numbers at their edges, bytes that are no UTF-8.
TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"1e999", b"-0", b"NaN", b"\\ud800", b"\\u0000",
    b"<", b">", b"&", b"&#0;", b"&#x110000;", b"&amp;", b"&e;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?x ?>",
    b"<!DOCTYPE d>", b"<Ntry>", b"</Ntry>", b"<TxDtls>", b"</TxDtls>", b"<Ntfctn>", b"</Ntfctn>", b"<Document/>",
    b"CRDT", b"DBIT", b"BOOK", b"true", b"1", b"0.00", b"999999999999999999.99999", b"820260401000017", b"USD",
    b"2026-02-30", b"0001-01-01T00:00:00+14:00", b"9999-12-31", b"xmlns=''", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00",
    b"\xff", b"\xed\xa0\x80", b" ", b"\n", b"\t",
)  # fmt: skip


#: What stands in a form: an XML element without elements in it, a member's value in JSON; for a header any word.
_PARTS = {
    "xml": re.compile(rb"<(\w+)[^<>]*>([^<]*)</\1>"),
    "json": re.compile(rb'("[^"\\]*"|[0-9]+)(?=\s*[,}\]])'),
    "txt": re.compile(rb"[0-9]+|[A-Za-z]+"),
}
_VALUES = {
    "xml": [token for token in TOKENS if not set(token) & set(b"<>&\x00\xff\xed")],
    "json": [b'""', b"null", b"0", b"-1", b"1e5", b"true", b"[]", b"{}", b"[[{}]]", b'"Y"', b'"USD"', b'"0.00"',
             b'"99999999999999999.00"', b'"2026-02-30T00:00:00Z"', b'"\\ud800"', b'"\\u0000"', b'"820260401000017"',
             b'"' + b"9" * 40 + b'"', b'"' + b"x" * 300 + b'"', "\"\uff11\"".encode()],
    "txt": [b"", b"0", b"99", b"Z", b"9999", b"-", b"=", b".", b"T", b"60"],
}  # fmt: skip


def read_seeds(suffix: str) -> list[bytes]:
    """Return the seeds of one kind, in the order of their names."""
    return [file.read_bytes() for file in sorted(SEEDS.glob(f"*.{suffix}"))]


class Mutator:
    """Makes inputs from seeds."""

    def __init__(self, seeds: Sequence[bytes], number: int, suffix: str) -> None:
        self._seeds = seeds
        self._chance = random.Random(number)
        self._part, self._values = _PARTS[suffix], _VALUES[suffix]

    def make(self) -> bytes:
        """Return a seed with one to CHANGES_MAX changes."""
        data = bytearray(self._chance.choice(self._seeds))
        change = self._chance.choice((self._change, self._change_part))
        for _ in range(self._chance.randint(1, CHANGES_MAX)):
            change(data)
        return bytes(data[:INPUT_BYTES_MAX])

    def _change_part(self, data: bytearray) -> None:
        """Give one part another value, or take it away, or let it stand twice."""
        parts = list(self._part.finditer(data))
        if not parts:
            return
        part = self._chance.choice(parts)
        whole, last = part.span(), part.span(part.re.groups)
        match self._chance.randrange(4):
            case 0 if part.re.groups == 2:
                del data[whole[0] : whole[1]]
            case 1 if part.re.groups == 2:
                data[whole[0] : whole[0]] = data[whole[0] : whole[1]]
            case _:
                data[last[0] : last[1]] = self._chance.choice(self._values)

    def _change(self, data: bytearray) -> None:
        chance = self._chance
        place = chance.randint(0, len(data))
        until = min(len(data), place + chance.choice((0, 1, 2, 8, 64, 512)))
        match chance.randrange(7):
            case 0:
                data[place:until] = chance.choice(TOKENS)
            case 1:
                data[place:place] = chance.choice(TOKENS) * chance.choice((1, 1, 2, REPEATS_MAX))
            case 2:
                del data[place:until]
            case 3:
                data[place:place] = data[place:until]
            case 4:
                data[place : place + 1] = bytes((chance.randrange(256),))
            case 5:
                del data[place:]
            case _:
                other = chance.choice(self._seeds)
                begin = chance.randint(0, len(other))
                data[place:until] = other[begin : begin + chance.choice((1, 8, 64, 512))]
