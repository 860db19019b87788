"""Whose call it is: partner, place, token, signature, time. Pure.

    authenticate(call, partners, tokens, now)      raises SnapRefusal 400xx01, 400xx02, 401xx00, 401xx01, 404xx16

In the order of the standard: partner, access token, signature; the body is read only after that. One form is tried, the
one that the partner's profile names.
"""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from connectors.bank import snap
from connectors.bank.profile import Partner, Partners
from connectors.bank.snap_answer import (
    INVALID_FORMAT,
    INVALID_TOKEN,
    PARTNER_NOT_FOUND,
    UNAUTHORIZED,
    Call,
    SnapRefusal,
)
from connectors.bank.snap_token import Tokens

_BEARER = "Bearer "


@dataclass(frozen=True, slots=True)
class Authentic:
    """Who called, and the call's own time."""

    partner: Partner
    timestamp: datetime


def authenticate(call: Call, partners: Partners, tokens: Tokens, now: datetime) -> Authentic:
    """Return whose call it is, once that is certain; else raise SnapRefusal."""
    partner = partners.by_id.get(call.header("X-PARTNER-ID"))
    if partner is None:
        raise SnapRefusal(PARTNER_NOT_FOUND)
    check_place(call, partner)
    written = call.header("X-TIMESTAMP")
    timestamp = read_timestamp(written, partner)
    hashed = snap.body_hash(call.body, partner.profile.hash_form)
    signature = _signature_of(call)
    if partner.secret is not None:
        token = _token_of(call)
        if not tokens.verify(token, partner.profile.partner_id, now):
            raise SnapRefusal(INVALID_TOKEN)
        text = snap.symmetric_text(call.method, call.path, token, hashed, written)
        verifies = snap.verify_symmetric(text, partner.secret, signature)
    else:
        text = snap.asymmetric_text(call.method, call.path, hashed, written)
        verifies = snap.verify_asymmetric(text, partner.key, signature)
    if not verifies:
        raise SnapRefusal(UNAUTHORIZED, "[Signature]")
    check_fresh(timestamp, partner, now)
    return Authentic(partner, timestamp)


def _signature_of(call: Call) -> str:
    written = call.optional("X-SIGNATURE")
    if not written:
        raise SnapRefusal(UNAUTHORIZED, "[Signature]")
    return written


def _token_of(call: Call) -> str:
    written = call.optional("Authorization")
    if not written.startswith(_BEARER):
        raise SnapRefusal(INVALID_TOKEN)
    return written.removeprefix(_BEARER)


def check_place(call: Call, partner: Partner) -> None:
    """Raise SnapRefusal unless the call came where and from where this partner's calls come.

    A partner with a listener of its own is heard only there, since only there its certificate was shown; and at its
    listener nobody else is heard.
    """
    expected = partner.profile.partner_id if partner.profile.listener is not None else None
    if call.listener != expected:
        raise SnapRefusal(UNAUTHORIZED, "[Certificate]")
    if partner.profile.addresses and not _is_within(call.address, partner):
        raise SnapRefusal(UNAUTHORIZED, "[Address]")


def _is_within(address: str | None, partner: Partner) -> bool:
    try:
        seen = ip_address(address or "")
    except ValueError:
        return False
    return any(seen in network for network in partner.profile.addresses)


def read_timestamp(written: str, partner: Partner) -> datetime:
    """Return X-TIMESTAMP; raise SnapRefusal 400xx01 when it is not in a form that the profile names."""
    timestamp = snap.read_time(written)
    if timestamp is None or snap.time_form(written) not in partner.profile.timestamp_forms:
        raise SnapRefusal(INVALID_FORMAT, "{X-TIMESTAMP}")
    return timestamp


def check_fresh(timestamp: datetime, partner: Partner, now: datetime) -> None:
    """Raise SnapRefusal 401xx00 when the bank's clock and ours are further apart than was agreed."""
    if abs((now - timestamp).total_seconds()) > partner.profile.timestamp_tolerance_s:
        raise SnapRefusal(UNAUTHORIZED, "[Timestamp]")
