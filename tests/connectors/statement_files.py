"""A bank that writes statements: camt.054 as versions .02 to .13 have it, with whatever traps a test asks for."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.054.001."


def amount(value: str, currency: str | None = "USD") -> str:
    return f"<Amt>{value}</Amt>" if currency is None else f'<Amt Ccy="{currency}">{value}</Amt>'


def refs(*, ref: Sequence[str] = (), free: Sequence[str] = (), end: str | None = None, bank: str | None = None) -> str:
    """The references of a detail: Strd/CdtrRefInf/Ref, Ustrd, EndToEndId, AcctSvcrRef."""
    ids = (f"<AcctSvcrRef>{bank}</AcctSvcrRef>" if bank else "") + (f"<EndToEndId>{end}</EndToEndId>" if end else "")
    texts = "".join(f"<Ustrd>{escape(text)}</Ustrd>" for text in free)
    blocks = "".join(f"<Strd><CdtrRefInf><Ref>{escape(text)}</Ref></CdtrRefInf></Strd>" for text in ref)
    return f"<Refs>{ids}</Refs><RmtInf>{texts}{blocks}</RmtInf>"


def detail(body: str = "", *, money: str = "", sign: str | None = None) -> str:
    indicator = f"<CdtDbtInd>{sign}</CdtDbtInd>" if sign else ""
    return f"<TxDtls>{money}{indicator}{body}</TxDtls>"


def entry(
    *details: str,
    money: str | None = None,
    sign: str | None = "CRDT",
    reversal: str | None = None,
    status: str | None = "<Cd>BOOK</Cd>",
    booked: str | None = "<Dt>2026-04-01</Dt>",
    bank: str | None = None,
    ref: str | None = None,
) -> str:
    parts = (
        f"<NtryRef>{ref}</NtryRef>" if ref else "",
        amount("1200.00") if money is None else money,
        f"<CdtDbtInd>{sign}</CdtDbtInd>" if sign else "",
        f"<RvslInd>{reversal}</RvslInd>" if reversal else "",
        f"<Sts>{status}</Sts>" if status is not None else "",
        f"<BookgDt>{booked}</BookgDt>" if booked is not None else "",
        f"<AcctSvcrRef>{bank}</AcctSvcrRef>" if bank else "",
        f"<NtryDtls>{''.join(details)}</NtryDtls>" if details else "",
    )
    return f"<Ntry>{''.join(parts)}</Ntry>"


def notification(
    *entries: str,
    name: str | None = "NTF-1",
    account: str | None = "<Othr><Id>0012345678</Id></Othr>",
    page: str | None = None,
    created: str = "2026-04-01T23:30:00+07:00",
    copy: str | None = None,
) -> str:
    parts = (
        f"<Id>{name}</Id>" if name is not None else "",
        f"<NtfctnPgntn><PgNb>{page}</PgNb><LastPgInd>true</LastPgInd></NtfctnPgntn>" if page else "",
        f"<CreDtTm>{created}</CreDtTm>",
        f"<CpyDplctInd>{copy}</CpyDplctInd>" if copy else "",
        f"<Acct><Id>{account}</Id></Acct>" if account is not None else "",
    )
    return f"<Ntfctn>{''.join(parts)}{''.join(entries)}</Ntfctn>"


def document(*notifications: str, version: str = "08", header: str = "", message: str = "MSG-1") -> str:
    head = f"<GrpHdr><MsgId>{message}</MsgId><CreDtTm>2026-04-01T23:30:00+07:00</CreDtTm>{header}</GrpHdr>"
    body = f"<BkToCstmrDbtCdtNtfctn>{head}{''.join(notifications)}</BkToCstmrDbtCdtNtfctn>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}{version}">{body}</Document>\n'


def statement(*entries: str, version: str = "08") -> str:
    return document(notification(*entries), version=version)
