"""Whole camt.054 files: which are refused and by what name, at any size, and whatever comes."""

import io
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.bank import camt054
from connectors.bank.camt054 import FILE_REASONS, StatementRefused, read_transactions
from connectors.bank.entry import REFUSED_REASONS, UNCOUNTED_REASONS, Transaction
from tests.connectors.statement_files import amount, detail, document, entry, notification, refs, statement

CODE = "820260401000017"


def read(text: str | bytes) -> list[Transaction]:
    return list(read_transactions(io.BytesIO(text.encode() if isinstance(text, str) else text)))


# --- files that are refused ------------------------------------------------------------------------------------------

GOOD = statement(entry(detail(refs(ref=[CODE]))))
BOMB = "<!DOCTYPE d [<!ENTITY a 'x'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(12)
)
BOMB += "]>"


def with_prolog(prolog: str) -> str:
    return GOOD.replace("<Document", f"{prolog}<Document")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (with_prolog('<!DOCTYPE Document SYSTEM "http://bank.example/x.dtd">').encode(), "document_type"),
        (with_prolog("<!-- c --><?p?>\n<!DOCTYPE Document>").encode(), "document_type"),
        (with_prolog('<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>').encode(), "document_type"),
        (with_prolog(BOMB).replace("BOOK", "&m;").encode(), "document_type"),
        (with_prolog("<!DOCTYPE d>").replace("UTF-8", "UTF-16").encode("utf-16"), "document_type"),
        (GOOD.encode()[:-3], "truncated"),
        (GOOD.encode()[: len(GOOD) // 2], "truncated"),
        (GOOD.encode()[: GOOD.index("</Document>")], "truncated"),
        (b'<?xml version="1.0"?>', "truncated"),
        (b"<Docu", "truncated"),
        (GOOD.replace("BOOK", "\u00e9").encode("latin-1"), "encoding"),
        (GOOD.replace("UTF-8", "KOI-999").encode(), "encoding"),
        (GOOD.replace("UTF-8", "UTF-7").encode(), "encoding"),
        (GOOD.replace("UTF-8", "UTF-16").encode(), "encoding"),
        (GOOD.encode("utf-16"), "encoding"),
        (GOOD.encode("utf-32"), "encoding"),
        (GOOD.replace("</Cd>", "</Dc>").encode(), "malformed"),
        (GOOD.replace("BOOK", "&unheard;").encode(), "malformed"),
        (GOOD.replace('Ccy="USD"', 'Ccy="USD" Ccy="IDR"').encode(), "malformed"),
        (GOOD.replace("BOOK", "a & b").encode(), "malformed"),
        (GOOD.replace("BOOK", "\x01").encode(), "malformed"),
        ((" " + GOOD).encode(), "malformed"),
        (b"\xef\xbb\xbf", "empty"),
        ((GOOD + "<more/>").encode(), "malformed"),
        ((GOOD + "\x1a").encode(), "malformed"),
        ((GOOD + GOOD).encode(), "malformed"),
        (GOOD.replace("<Ntfctn>", "<x>" * 300).encode(), "nesting"),
        (GOOD.replace("BOOK", "x" * 11_000_000).encode(), "nesting"),
        (GOOD.replace("camt.054.001", "camt.053.001").encode(), "not_camt_054"),
        (GOOD.replace(' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"', "").encode(), "not_camt_054"),
        (GOOD.replace("BkToCstmrDbtCdtNtfctn", "BkToCstmrStmt").encode(), "not_camt_054"),
        (GOOD.replace("Document", "Envelope").encode(), "not_camt_054"),
        (b"id;amount\n1;2\n", "malformed"),
        (GOOD.replace("001.08", "001.01").encode(), "version_unsupported"),
        (GOOD.replace("001.08", "001.14").encode(), "version_unsupported"),
    ],
)
def test_a_file_is_refused_by_name(data: bytes, reason: str) -> None:
    assert reason in FILE_REASONS
    with pytest.raises(StatementRefused) as refused:
        read(data)
    assert refused.value.reason == reason


def test_encodings_that_banks_use_are_read() -> None:
    text = statement(entry(detail(refs(free=["Caf\u00e9"]))))
    expected = read(text)
    for name in ("UTF-8", "ISO-8859-1", "windows-1252", "UTF-16"):
        assert read(text.replace("UTF-8", name).encode(name)) == expected
    assert read(b"\xef\xbb\xbf" + text.encode()) == expected
    assert read(text.replace('<?xml version="1.0" encoding="UTF-8"?>', "")) == expected


def test_comments_and_instructions_change_nothing() -> None:
    text = GOOD.replace("1200.00", "12<!-- c -->00<?p?>.00").replace("BOOK", "<![CDATA[BOOK]]>")
    assert read(text) == read(GOOD)


def test_elements_of_the_same_name_elsewhere_mean_nothing() -> None:
    stray = f"<SplmtryData><Envlp>{entry()}<TxDtls/><x xmlns='urn:other'><Ntry/></x></Envlp></SplmtryData>"
    text = GOOD.replace("</TxDtls>", f"{stray}</TxDtls>").replace("</Ntfctn>", f"{stray}</Ntfctn>")
    assert read(text) == read(GOOD)
    foreign = GOOD.replace("<CdtDbtInd>", "<CdtDbtInd xmlns='urn:other'>DBIT</CdtDbtInd><CdtDbtInd>")
    assert read(foreign) == read(GOOD)


def test_a_statement_of_nothing_is_no_error() -> None:
    assert read(document(notification())) == read(document()) == []


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt054, "POSITION_MAX", 3)
    assert len(read(statement(*[entry()] * 3))) == 3
    with pytest.raises(StatementRefused, match="more than"):
        read(statement(*[entry()] * 4))


# --- at any size, and whatever comes ---------------------------------------------------------------------------------


class _Endless(io.RawIOBase):
    """A statement of many entries that is never in memory as a whole."""

    def __init__(self, entries: int) -> None:
        self._head, self._tail = statement("@").encode().split(b"@")
        self._entry = entry(detail(refs(ref=[CODE]), money=amount("1200.00"), sign="CRDT"), bank="R1").encode()
        self._entries = entries
        self._parts = self._all()
        self._rest = b""

    def _all(self) -> Iterator[bytes]:
        yield self._head
        for _ in range(self._entries):
            yield self._entry
        yield self._tail

    def seek(self, offset: int, whence: int = 0) -> int:
        assert (offset, whence) == (0, 0)
        self._parts, self._rest = self._all(), b""
        return 0

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (part := next(self._parts, b"")):
            self._rest += part
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def test_memory_does_not_grow_with_the_file() -> None:
    peaks = []
    for entries in (500, 5_000):
        tracemalloc.start()
        assert sum(each.counts == "credit" for each in read_transactions(_Endless(entries))) == entries  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.decimals("0.01", "99999999.99", places=2), st.booleans()), min_size=1, max_size=8),
    st.booleans(),
)
def test_money_is_exact_and_counted_once(parts: list[tuple[Decimal, bool]], several: bool) -> None:
    """However payments are put into entries and details, their sum is the sum of what was written."""
    expected = sum((value for value, _ in parts), Decimal(0))
    if several:
        details = [
            detail(refs(ref=[CODE]), money=amount(str(value)), sign="CRDT" if told else None) for value, told in parts
        ]
        found = read(statement(entry(*details, money=amount(str(expected)))))
    else:
        found = read(statement(*[entry(money=amount(str(value))) for value, _ in parts]))
    assert sum((Decimal(each.money or 0) for each in found), Decimal(0)) == expected
    assert {each.counts for each in found} == {"credit"}


tree = st.recursive(
    st.text(alphabet="BOKCRDTI0129.-:TZ &<x\u00e9", max_size=12),
    lambda inner: st.lists(
        st.tuples(
            st.sampled_from(
                ["Ntfctn", "Ntry", "TxDtls", "NtryDtls", "Amt", "Sts", "Cd", "Id", "Acct", "BookgDt", "Dt"]
            ),
            inner,
        ),
        max_size=4,
    ),
    max_leaves=15,
)


def _write(node: Any) -> str:
    if isinstance(node, str):
        return node.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"<{name}>{_write(inner)}</{name}>" for name, inner in node)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(tree, tree)
def test_any_structure_is_read_or_refused(outer: Any, inner: Any) -> None:
    for text in (document(_write(outer)), statement(f"<Ntry>{_write(inner)}</Ntry>"), statement(entry(_write(inner)))):
        for each in read(text):
            known = {**UNCOUNTED_REASONS, **REFUSED_REASONS}
            assert (each.reason is None) if each.counts in ("credit", "reversal") else each.reason in known
            assert (each.money is not None) == (each.counts in ("credit", "reversal"))


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=4))
@example(GOOD.index("BOOK"), b"\xff")
def test_any_damage_is_read_or_refused(place: int, garbage: bytes) -> None:
    data = GOOD.encode()
    assert _reason(data[:place] + garbage + data[place + len(garbage) :]) in (None, *FILE_REASONS)


def _reason(data: bytes) -> str | None:
    try:
        read(data)
    except StatementRefused as refused:
        return refused.reason
    return None


@pytest.mark.parametrize("length", range(0, len(GOOD.rstrip()) - 1, 7))
def test_a_truncated_file_is_refused_whole(length: int) -> None:
    with pytest.raises(StatementRefused) as refused:
        read(GOOD.encode()[:length])
    assert refused.value.reason in ("truncated", "empty")
