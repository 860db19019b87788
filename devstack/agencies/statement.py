"""A bank's credit and debit notifications as camt.054 files (ISO 20022), in the versions that banks send.

.02    status as a text; a detail's amount within AmtDtls, or only the entry has one
.04    status as a text; a detail has amount and direction of its own
.08    status as a code
"""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from xml.etree import ElementTree

from devstack.agencies.scenario import Report

VERSIONS = ("02", "04", "08")
NEWEST = VERSIONS[-1]
JAKARTA = timezone(timedelta(hours=7))


class Page(NamedTuple):
    """One page of a notification that is sent in several files."""

    number: int
    last: bool


def name_space(version: str) -> str:
    """Return the XML namespace of a version."""
    return f"urn:iso:std:iso:20022:tech:xsd:camt.054.001.{version}"


NAMESPACE = name_space(NEWEST)


def write_statement(
    reports: Iterable[Report],
    identification: str,
    account: str,
    created_at: datetime,
    *,
    version: str = NEWEST,
    page: Page | None = None,
    copy: bool = False,
) -> bytes:
    """Write one notification with an entry for each report, a credit or a reversed credit. `copy`: it says so."""
    return _Writer(version).write(reports, identification, account, created_at, page, copy)


class _Writer:
    def __init__(self, version: str) -> None:
        self._version = version
        self._space = name_space(version)

    def write(
        self,
        reports: Iterable[Report],
        identification: str,
        account: str,
        created_at: datetime,
        page: Page | None,
        copy: bool,
    ) -> bytes:
        ElementTree.register_namespace("", self._space)
        document = ElementTree.Element(f"{{{self._space}}}Document")
        message = self._add(document, "BkToCstmrDbtCdtNtfctn")
        header = self._add(message, "GrpHdr")
        self._add(header, "MsgId", identification if page is None else f"{identification}-{page.number}")
        self._add(header, "CreDtTm", _write_time(created_at))
        notification = self._add(message, "Ntfctn")
        self._add(notification, "Id", identification)
        if page is not None:
            # The newest version numbers the notification's pages, the older ones the message's.
            newest = self._version == NEWEST
            paging = self._add(notification, "NtfctnPgntn") if newest else self._add(header, "MsgPgntn")
            self._add(paging, "PgNb", str(page.number))
            self._add(paging, "LastPgInd", "true" if page.last else "false")
        self._add(notification, "CreDtTm", _write_time(created_at))
        if copy:
            self._add(notification, "CpyDplctInd", "DUPL")
        self._add(self._add(self._add(self._add(notification, "Acct"), "Id"), "Othr"), "Id", account)
        for place, report in enumerate(reports):
            self._add_entry(notification, report, place)
        text: bytes = ElementTree.tostring(document, encoding="utf-8", xml_declaration=True)
        return text

    def _add(
        self, parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str
    ) -> ElementTree.Element:
        child = ElementTree.SubElement(parent, f"{{{self._space}}}{name}", attributes)
        child.text = text
        return child

    def _add_entry(self, notification: ElementTree.Element, report: Report, place: int) -> None:
        taken_back = report.channel == "reversal"
        entry = self._add(notification, "Ntry")
        self._add(entry, "Amt", f"{report.amount:.2f}", Ccy=report.currency)
        self._add(entry, "CdtDbtInd", "DBIT" if taken_back else "CRDT")
        if taken_back:
            self._add(entry, "RvslInd", "true")
        if self._version == NEWEST:
            self._add(self._add(entry, "Sts"), "Cd", "BOOK")
        else:
            self._add(entry, "Sts", "BOOK")
        self._add(self._add(entry, "BookgDt"), "DtTm", _write_time(report.at))
        self._add(entry, "AcctSvcrRef", report.reference)
        self._add(self._add(self._add(entry, "BkTxCd"), "Prtry"), "Cd", "SIMPONI")
        details = self._add(self._add(entry, "NtryDtls"), "TxDtls")
        self._add_references(details, report)
        self._add_amount(details, report, place)
        if report.billing_code is not None:
            remittance = self._add(self._add(self._add(details, "RmtInf"), "Strd"), "CdtrRefInf")
            self._add(remittance, "Ref", report.billing_code)

    def _add_references(self, details: ElementTree.Element, report: Report) -> None:
        references = self._add(details, "Refs")
        self._add(references, "AcctSvcrRef", report.reference)
        self._add(references, "EndToEndId", "NOTPROVIDED")
        if report.ntpn is not None:
            own = self._add(references, "Prtry")
            self._add(own, "Tp", "NTPN")
            self._add(own, "Ref", report.ntpn)

    def _add_amount(self, details: ElementTree.Element, report: Report, place: int) -> None:
        amount = f"{report.amount:.2f}"
        if self._version == "02":
            # Real files of this version leave a single detail's amount out as often as not.
            if place % 2 == 0:
                self._add(self._add(self._add(details, "AmtDtls"), "TxAmt"), "Amt", amount, Ccy=report.currency)
            return
        self._add(details, "Amt", amount, Ccy=report.currency)
        self._add(details, "CdtDbtInd", "DBIT" if report.channel == "reversal" else "CRDT")


def _write_time(moment: datetime) -> str:
    return moment.astimezone(JAKARTA).isoformat(timespec="seconds")
