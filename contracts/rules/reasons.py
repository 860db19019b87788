"""Why no recommendation stands: stable words, the weightiest first, and what they mean to people.

A word is never renamed or reused, since it stands in withdrawals for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

APPLICATION_UNKNOWN: Final = "application_unknown"
RULE_SET_MISSING: Final = "rule_set_missing"
PERMIT_REVOKED: Final = "permit_revoked"
PERMIT_REJECTED: Final = "permit_rejected"
PERMIT_EXPIRED: Final = "permit_expired"
PERMIT_NOT_APPROVED: Final = "permit_not_approved"
POST_PROHIBITED: Final = "post_prohibited"
DURATION_OVER_LIMIT: Final = "duration_over_limit"
EXEMPTION_UNKNOWN: Final = "exemption_unknown"
PAYMENT_REVERSED: Final = "payment_reversed"
PAYMENT_PARTIAL: Final = "payment_partial"
PAYMENT_MISSING: Final = "payment_missing"
BILL_CANCELLED: Final = "bill_cancelled"
BILL_EXPIRED: Final = "bill_expired"
BILL_MISSING: Final = "bill_missing"
BILL_BELOW_DUE: Final = "bill_below_due"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason in plain words."""

    text_en: str
    text_id: str


REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        APPLICATION_UNKNOWN: Reason(
            "The application itself has not arrived yet, so no rule set can be chosen.",
            "Permohonannya sendiri belum diterima, sehingga ketentuan yang berlaku belum dapat dipilih.",
        ),
        RULE_SET_MISSING: Reason(
            "The application is older than every rule set of this exchange.",
            "Tanggal permohonan lebih tua daripada semua ketentuan dalam pertukaran ini.",
        ),
        PERMIT_REVOKED: Reason("The permit was revoked.", "Pengesahan RPTKA telah dicabut."),
        PERMIT_REJECTED: Reason("The application was rejected.", "Permohonan ditolak."),
        PERMIT_EXPIRED: Reason("The permit ran out.", "Masa berlaku pengesahan RPTKA telah berakhir."),
        PERMIT_NOT_APPROVED: Reason("The permit is not approved yet.", "RPTKA belum disahkan."),
        POST_PROHIBITED: Reason(
            "The post is closed to foreign workers, since it is in charge of personnel.",
            "Jabatan ini tertutup bagi tenaga kerja asing karena mengurusi personalia.",
        ),
        DURATION_OVER_LIMIT: Reason(
            "The permit is longer than the law allows for its kind.",
            "Jangka waktunya melebihi batas yang diperbolehkan untuk jenis ini.",
        ),
        EXEMPTION_UNKNOWN: Reason(
            "The exemption is of a class that the law does not name, or did not name on the day of the application.",
            "Golongan pembebasan ini tidak diatur dalam ketentuan, atau belum diatur pada tanggal permohonan.",
        ),
        PAYMENT_REVERSED: Reason(
            "The bank took the payment back, and it has not been paid again.",
            "Pembayaran ditarik kembali oleh bank dan belum dibayar lagi.",
        ),
        PAYMENT_PARTIAL: Reason("Only a part of the bill was paid.", "Tagihan baru dibayar sebagian."),
        PAYMENT_MISSING: Reason("The bill is not paid yet.", "Tagihan belum dibayar."),
        BILL_CANCELLED: Reason(
            "The bill was cancelled, and there is no other.", "Tagihan dibatalkan dan belum ada penggantinya."
        ),
        BILL_EXPIRED: Reason(
            "The bill expired before it was paid, and there is no other.",
            "Tagihan kedaluwarsa sebelum dibayar dan belum ada penggantinya.",
        ),
        BILL_MISSING: Reason(
            "No bill was issued, and no exemption was granted.", "Belum ada tagihan dan tidak ada pembebasan."
        ),
        BILL_BELOW_DUE: Reason(
            "The bills come to less than what is owed for the months of the permit.",
            "Jumlah tagihan kurang dari kewajiban untuk jangka waktu izin.",
        ),
    }
)
