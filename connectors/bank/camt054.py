"""ISO 20022 camt.054, the notification of bookings on an account: an XML stream in, its transactions out. Pure.

    for transaction in read_transactions(source):      # raises StatementRefused: nothing of the file may count
        transaction.counts                             # credit | reversal | no | refused

Versions .02 to .13 are read by structure: real files break their schema now and then, so what is not used is not looked
at, and what is used is read strictly. A file is read as a stream; what stays in memory is one entry's details.
"""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from lxml import etree

from connectors.bank.entry import Detail, Entry, Notification, Transaction, judge_entry, read_date_time

VERSIONS: Final = range(2, 14)
PROLOG_BYTES_MAX: Final = 65_536
TAIL_BYTES: Final = 512
POSITION_MAX: Final = 999_999
PAGE_MAX: Final = 99_999

#: Why a file is refused. Nothing of a refused file counts, so that the file put right may follow.
FILE_REASONS: Final = {
    "document_type": "the file has a document type declaration, which a statement never needs",
    "empty": "the file is empty",
    "truncated": "the file ends before its root element does",
    "encoding": "the file is not in the encoding that it declares, or in one that is not taken",
    "nesting": "the file is nested deeper, or has a longer text, than any statement needs",
    "malformed": "the file is not well-formed XML",
    "not_camt_054": "the file is not a camt.054 message",
    "version_unsupported": "the file is a camt.054 of a version that is not read (.02 to .13 are)",
    "too_large": "the file is larger than one gigabyte",
    "too_many_entries": f"the file has more than {POSITION_MAX} entries, or one of them more than as many details",
}

_BLANK = " \t\r\n"
_NAMESPACE = re.compile(r"\{urn:iso:std:iso:20022:tech:xsd:camt\.054\.001\.([0-9]{2})\}Document")
_NTPN = re.compile(r"[0-9A-Za-z]{16}")
_REASON_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_PAGE = re.compile(r"[0-9]{1,5}")

_PROLOG = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(?:<\?.*?\?>|<!--.*?-->|[ \t\r\n]+)*", re.DOTALL)
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)(?=[\s/>])")
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_END = re.compile(rb"</(?:[A-Za-z_][\w.-]*:)?Document\s*>")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_ENCODINGS = frozenset(("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii", "iso8859-1", "iso8859-15", "cp1252"))
#: libxml2's error numbers: XML_ERR_UNKNOWN_ENCODING, _UNSUPPORTED_ENCODING, _ENCODING_NAME, _INVALID_ENCODING.
_ENCODING_ERRORS = frozenset((31, 32, 79, 81))
#: XML_ERR_RESOURCE_LIMIT.
_LIMIT_ERROR = 114


class StatementRefused(Exception):
    """A file of which nothing may count; `reason` is a key of FILE_REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(FILE_REASONS[reason])
        self.reason = reason


class _OtherDocument(Exception):
    """The root is not camt.054's, perhaps because the file ends within it."""


def read_transactions(source: BinaryIO) -> Iterator[Transaction]:
    """Yield the file's transactions in document order; raise StatementRefused at the place where the file fails.

    `source` is a seekable binary stream. Since a fault may come at the very end, nothing may be made of what was
    yielded before the iterator is exhausted.
    """
    _check_prolog(source)
    source.seek(0)
    try:
        yield from _Reader(source).transactions()
    except etree.XMLSyntaxError as error:
        # The error's code is not always among its args, and lxml's stubs leave the attribute out.
        raise StatementRefused(_syntax_reason(source, error.code)) from None  # type: ignore[attr-defined]
    except _OtherDocument:
        raise StatementRefused("truncated" if _is_cut_off(source) else "not_camt_054") from None


def _check_prolog(source: BinaryIO) -> None:
    """Refuse a document type, an encoding that is not taken, or another root, before any parser sees the file.

    An entity could otherwise be expanded before the first element tells that there is a document type.
    """
    head = source.read(PROLOG_BYTES_MAX)
    if not head.removeprefix(codecs.BOM_UTF8).strip():
        raise StatementRefused("empty")
    wide = head[:2] in _WIDE_MARKS
    if (b"\0" in head[:4] and not wide) or b"\0\0" in head[:4]:
        raise StatementRefused("encoding")
    narrow = head.replace(b"\0", b"") if wide else head
    declared = _ENCODING.search(narrow)
    if declared is not None and _encoding_is_wide(declared[1].decode("ascii")) != wide:
        raise StatementRefused("encoding")
    prolog = _PROLOG.match(narrow)
    rest = narrow[prolog.end() :] if prolog else narrow
    if rest.startswith(b"<!DOCTYPE"):
        raise StatementRefused("document_type")
    if rest and not rest.startswith(b"<"):
        raise StatementRefused("malformed")
    root = _ROOT.match(rest)
    if root is not None and root[1] != b"Document":
        raise StatementRefused("not_camt_054")


def _encoding_is_wide(name: str) -> bool:
    """Return whether the encoding has two bytes a character; raise StatementRefused when it is not taken."""
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        raise StatementRefused("encoding") from None
    if encoding not in _ENCODINGS:
        raise StatementRefused("encoding")
    return encoding.startswith("utf-16")


def _syntax_reason(source: BinaryIO, code: int) -> str:
    """Say what a syntax error comes from. A file without its root's end was cut off, whatever else it breaks."""
    if code == _LIMIT_ERROR:
        return "nesting"
    if _is_cut_off(source):
        return "truncated"
    return "encoding" if code in _ENCODING_ERRORS else "malformed"


def _is_cut_off(source: BinaryIO) -> bool:
    """Tell whether the end of the root element is not among the file's last words, whatever may follow it."""
    size = source.seek(0, 2)
    source.seek(max(0, size - TAIL_BYTES))
    tail = source.read(TAIL_BYTES).replace(b"\0", b"")
    return _END.search(tail) is None


class _Reader:
    """Reads one file; `transactions` may be called once."""

    def __init__(self, source: BinaryIO) -> None:
        self._events = etree.iterparse(
            source,
            events=("start", "end"),
            tag=("{*}Document", "{*}Ntfctn", "{*}Ntry", "{*}TxDtls"),
            resolve_entities="internal",  # There is no document type: any entity but the five is an error.
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        self._space = ""
        self._details: list[Detail] = []
        self._notification: Notification | None = None
        self._entries = 0
        self._places: dict[tuple[str | None, str | None, int], int] = {}

    def transactions(self) -> Iterator[Transaction]:
        """Yield the file's transactions, forgetting each element once it is read."""
        for event, element in self._events:
            if event == "start":
                if element.getparent() is None:
                    self._begin(element)
            elif self._stands(element, "Ntry", "Ntfctn", "BkToCstmrDbtCdtNtfctn", "Document"):
                yield from self._entry(element)
                _forget(element)
            elif self._stands(element, "TxDtls", "NtryDtls", "Ntry", "Ntfctn", "BkToCstmrDbtCdtNtfctn", "Document"):
                self._details.append(_read_detail(_Node(element, self._space)))
                _forget(element)
            elif self._stands(element, "Ntfctn", "BkToCstmrDbtCdtNtfctn", "Document"):
                self._notification = None
                _forget(element)
            if len(self._details) > POSITION_MAX or self._entries > POSITION_MAX:
                raise StatementRefused("too_many_entries")
        root = self._events.root
        if root is None or root.find(f"{self._space}BkToCstmrDbtCdtNtfctn") is None:
            raise _OtherDocument

    def _begin(self, root: etree._Element) -> None:
        """Take the version's namespace from the root; raise StatementRefused when it is not one that is read."""
        name = _NAMESPACE.fullmatch(str(root.tag))
        if name is None:
            raise _OtherDocument
        if int(name[1]) not in VERSIONS:
            raise StatementRefused("version_unsupported")
        if root.getroottree().docinfo.internalDTD is not None:
            raise StatementRefused("document_type")
        self._space = str(root.tag).removesuffix("Document")

    def _stands(self, element: etree._Element, *names: str) -> bool:
        """Tell whether these names lead from the element to the root; elsewhere the same name means something else."""
        node: etree._Element | None = element
        for name in names:
            if node is None or node.tag != self._space + name:
                return False
            node = node.getparent()
        return node is None

    def _entry(self, element: etree._Element) -> Iterator[Transaction]:
        if self._notification is None:
            self._notification = _read_notification(element, self._space)
        identity = (self._notification.account, self._notification.id, self._notification.page)
        self._places[identity] = place = self._places.get(identity, 0) + 1
        self._entries += 1
        entry = _read_entry(_Node(element, self._space), self._details)
        self._details = []
        yield from judge_entry(entry, self._notification, self._entries, place)


def _forget(element: etree._Element) -> None:
    """Free what was read: the element's content, and its earlier siblings of the same name."""
    element.clear()
    parent, earlier = element.getparent(), element.getprevious()
    while parent is not None and earlier is not None and earlier.tag == element.tag:
        parent.remove(earlier)
        earlier = element.getprevious()


class _Node:
    """An element by the local names of its children, of which each is read once."""

    __slots__ = ("_children", "_space", "ambiguous", "element")

    def __init__(self, element: etree._Element, space: str) -> None:
        self.element = element
        self.ambiguous = False
        self._space = space
        self._children: dict[str, list[etree._Element]] = {}
        for child in element:
            if isinstance(child.tag, str) and child.tag.startswith(space):
                self._children.setdefault(child.tag[len(space) :], []).append(child)

    def all(self, name: str) -> list["_Node"]:
        """Return every child of that name."""
        return [_Node(child, self._space) for child in self._children.get(name, ())]

    def one(self, *path: str) -> "_Node | None":
        """Return the node at the end of the path; a step that occurs twice makes this node ambiguous."""
        node: _Node = self
        for name in path:
            children = node._children.get(name, ())
            if not children:
                return None
            self.ambiguous = self.ambiguous or len(children) > 1
            node = _Node(children[0], self._space)
        return node

    def text(self, *path: str) -> str | None:
        """Return the text at the end of the path without blanks around it, or None when there is none."""
        node = self.one(*path)
        return node.own_text() if node is not None else None

    def own_text(self) -> str | None:
        """Return this node's own text without blanks around it, or None when it is empty or has children."""
        text = (self.element.text or "").strip(_BLANK)
        return text if text and not len(self.element) else None


def _read_notification(entry: etree._Element, space: str) -> Notification:
    """Read what stands above an entry: account, identifier, page, time of making."""
    above = entry.getparent()
    message = above.getparent() if above is not None else None
    if above is None or message is None:
        raise StatementRefused("malformed")
    node, header = _Node(above, space), _Node(message, space).one("GrpHdr")
    page = node.text("NtfctnPgntn", "PgNb") or (header.text("MsgPgntn", "PgNb") if header else None)
    created = node.text("CreDtTm") or (header.text("CreDtTm") if header else None)
    return Notification(
        account=node.text("Acct", "Id", "IBAN") or node.text("Acct", "Id", "Othr", "Id"),
        id=node.text("Id"),
        page=int(page) if page and _PAGE.fullmatch(page) else 1,
        created=read_date_time(created) if created else None,
        copy=node.text("CpyDplctInd") is not None,
    )


def _read_entry(node: _Node, details: list[Detail]) -> Entry:
    """Read an entry. The status is a text in .02 and .04, a code or a bank's own word in later versions."""
    amount = node.one("Amt")
    return Entry(
        amount=amount.own_text() if amount else None,
        currency=amount.element.get("Ccy") if amount else None,
        indicator=node.text("CdtDbtInd"),
        reversal=node.text("RvslInd"),
        status=node.text("Sts") or node.text("Sts", "Cd") or node.text("Sts", "Prtry"),
        booked_on=node.text("BookgDt", "Dt"),
        booked_at=node.text("BookgDt", "DtTm"),
        bank_reference=node.text("AcctSvcrRef"),
        details=details,
        ambiguous=node.ambiguous,
    )


def _read_detail(node: _Node) -> Detail:
    """Read a transaction detail. Its amount stands in Amt from .04 on, and in AmtDtls/TxAmt in .02."""
    amount = node.one("Amt") or node.one("AmtDtls", "TxAmt", "Amt")
    end_to_end = node.text("Refs", "EndToEndId")
    returned = node.one("RtrInf")
    reason = (returned.text("Rsn", "Cd") or returned.text("Rsn", "Prtry")) if returned else None
    structured, unstructured = _read_remittance(node)
    return Detail(
        amount=amount.own_text() if amount else None,
        currency=amount.element.get("Ccy") if amount else None,
        indicator=node.text("CdtDbtInd"),
        returned=returned is not None,
        structured=structured,
        unstructured=unstructured,
        end_to_end=None if end_to_end == "NOTPROVIDED" else end_to_end,
        bank_reference=node.text("Refs", "AcctSvcrRef"),
        ntpn=_read_ntpn(node),
        reason_code=reason if reason and _REASON_CODE.fullmatch(reason) else None,
        ambiguous=node.ambiguous,
    )


def _read_remittance(node: _Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the structured references and the free texts, each in document order; both may occur many times."""
    structured: list[str] = []
    unstructured: list[str] = []
    for remittance in node.all("RmtInf"):
        for block in remittance.all("Strd"):
            for information in block.all("CdtrRefInf"):
                structured += [text for ref in information.all("Ref") if (text := ref.own_text())]
        unstructured += [text for free in remittance.all("Ustrd") if (text := free.own_text())]
    return tuple(structured), tuple(unstructured)


def _read_ntpn(node: _Node) -> str | None:
    """Return the treasury's receipt number where the bank gives it: a reference of its own type NTPN."""
    for references in node.all("Refs"):
        for own in references.all("Prtry"):
            number = own.text("Ref")
            if own.text("Tp") == "NTPN" and number and _NTPN.fullmatch(number):
                return number
    return None
