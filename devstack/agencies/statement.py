"""A bank's credit and debit notifications as camt.054.001.08 files (ISO 20022)."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

from devstack.agencies.scenario import Report

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"
JAKARTA = timezone(timedelta(hours=7))


def write_statement(reports: Iterable[Report], identification: str, account: str, created_at: datetime) -> bytes:
    """Write one notification with an entry for each report: a credit, or a reversed credit."""
    ElementTree.register_namespace("", NAMESPACE)
    document = ElementTree.Element(f"{{{NAMESPACE}}}Document")
    message = _add(document, "BkToCstmrDbtCdtNtfctn")
    header = _add(message, "GrpHdr")
    _add(header, "MsgId", identification)
    _add(header, "CreDtTm", _write_time(created_at))
    notification = _add(message, "Ntfctn")
    _add(notification, "Id", identification)
    _add(notification, "CreDtTm", _write_time(created_at))
    _add(_add(_add(_add(notification, "Acct"), "Id"), "Othr"), "Id", account)
    for report in reports:
        _add_entry(notification, report)
    text: bytes = ElementTree.tostring(document, encoding="utf-8", xml_declaration=True)
    return text


def _add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
    child.text = text
    return child


def _write_time(moment: datetime) -> str:
    return moment.astimezone(JAKARTA).isoformat(timespec="seconds")


def _add_entry(notification: ElementTree.Element, report: Report) -> None:
    taken_back = report.channel == "reversal"
    amount = f"{report.amount:.2f}"
    direction = "DBIT" if taken_back else "CRDT"
    entry = _add(notification, "Ntry")
    _add(entry, "Amt", amount, Ccy=report.currency)
    _add(entry, "CdtDbtInd", direction)
    if taken_back:
        _add(entry, "RvslInd", "true")
    _add(_add(entry, "Sts"), "Cd", "BOOK")
    _add(_add(entry, "BookgDt"), "DtTm", _write_time(report.at))
    _add(entry, "AcctSvcrRef", report.reference)
    _add(_add(_add(entry, "BkTxCd"), "Prtry"), "Cd", "SIMPONI")
    details = _add(_add(entry, "NtryDtls"), "TxDtls")
    references = _add(details, "Refs")
    _add(references, "AcctSvcrRef", report.reference)
    _add(references, "EndToEndId", "NOTPROVIDED")
    if report.ntpn is not None:
        own = _add(references, "Prtry")
        _add(own, "Tp", "NTPN")
        _add(own, "Ref", report.ntpn)
    _add(details, "Amt", amount, Ccy=report.currency)
    _add(details, "CdtDbtInd", direction)
    if report.billing_code is not None:
        remittance = _add(_add(_add(details, "RmtInf"), "Strd"), "CdtrRefInf")
        _add(remittance, "Ref", report.billing_code)
