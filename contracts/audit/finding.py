"""What a recheck comes to, in stable codes and in plain words of both languages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from contracts.log.fault import Fault

Verdict = Literal["proven", "not_proven", "beyond"]


class Doubt(StrEnum):
    """Why a pack does not prove its recommendation, beside the faults of the log. A name is never reused."""

    PACK_MALFORMED = "pack_malformed"
    SUBJECT_DIFFERS = "subject_differs"
    ROOT_DIFFERS = "root_differs"
    LEAF_MISSING = "leaf_missing"
    LEAF_DIFFERS = "leaf_differs"
    VALUE_CHANGED = "value_changed"
    MESSAGE_SIGNATURE_INVALID = "message_signature_invalid"
    MESSAGE_REFUSED = "message_refused"
    KEY_NOT_YET_ADDED = "key_not_yet_added"
    KEY_REVOKED = "key_revoked"
    KEY_SUSPENDED = "key_suspended"
    REGISTRY_INVALID = "registry_invalid"
    REGISTRY_HISTORY_INCOMPLETE = "registry_history_incomplete"
    REGISTRY_TOO_FEW_PERSONS = "registry_too_few_persons"
    RULE_SET_NOT_IN_LOG = "rule_set_not_in_log"
    RULE_SET_NOT_REGISTERED = "rule_set_not_registered"
    RULE_SET_WRONG = "rule_set_wrong"
    CONTRACT_DIFFERS = "contract_differs"
    RECOMMENDATION_SIGNATURE_INVALID = "recommendation_signature_invalid"
    PROOF_MISSING = "proof_missing"
    REVISION_WRONG = "revision_wrong"
    NOT_FOUNDED = "not_founded"
    BASIS_MISSING = "basis_missing"
    BASIS_NOT_BEFORE = "basis_not_before"
    BASIS_HASH_WRONG = "basis_hash_wrong"
    BASIS_DIFFERS = "basis_differs"
    CONTENT_DIFFERS = "content_differs"
    WITHDRAWAL_WRONG = "withdrawal_wrong"
    PAYMENT_USED_TWICE = "payment_used_twice"


class Proven(StrEnum):
    """What a pack proves."""

    CHECKPOINT = "checkpoint"
    LEAVES = "leaves"
    REGISTRY = "registry"
    MESSAGES = "messages"
    RECOMMENDATION = "recommendation"
    PAYMENTS = "payments"


class Beyond(StrEnum):
    """What no pack can prove, or this one cannot any more."""

    COMPLETENESS = "completeness"
    REGISTRY_AFTERWARDS = "registry_afterwards"
    NO_WITNESS = "no_witness"
    ORIGINAL_ERASED = "original_erased"
    NO_RECOMMENDATION = "no_recommendation"
    LOG_SUCCEEDED = "log_succeeded"
    RECOMMENDATION_ERASED = "recommendation_erased"


class Words(NamedTuple):
    """One thing in English and Indonesian."""

    en: str
    id: str


WORDS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        Doubt.PACK_MALFORMED: Words(
            "The file is not a pack of the form tkahub-pack/1.", "Berkas ini bukan paket bentuk tkahub-pack/1."
        ),
        Doubt.SUBJECT_DIFFERS: Words(
            "The pack holds something of another case than it names.", "Paket memuat isi perkara lain."
        ),
        Doubt.ROOT_DIFFERS: Words(
            "The pack names another root key than the one that you trust.",
            "Paket menyebut kunci akar lain daripada yang Anda percayai.",
        ),
        Doubt.LEAF_MISSING: Words(
            "The pack does not show the log entry of something that it holds.",
            "Paket tidak menunjukkan catatan log untuk isinya.",
        ),
        Doubt.LEAF_DIFFERS: Words(
            "The log entry does not say the same as what the pack holds for it.",
            "Catatan log tidak sama dengan isi yang ada dalam paket.",
        ),
        Doubt.VALUE_CHANGED: Words(
            "The bytes of a message are not those that the log entry names: it was changed.",
            "Isi pesan tidak sama dengan yang tercatat dalam log: pesan telah diubah.",
        ),
        Doubt.MESSAGE_SIGNATURE_INVALID: Words(
            "The signature of a message does not verify: its sender did not sign these bytes.",
            "Tanda tangan pesan tidak cocok: pengirim tidak menandatangani isi ini.",
        ),
        Doubt.MESSAGE_REFUSED: Words(
            "The hub ought to have refused this message.", "Pesan ini seharusnya ditolak oleh hub."
        ),
        Doubt.KEY_NOT_YET_ADDED: Words(
            "The key was added to the log only after the message that it signed, or never.",
            "Kunci baru tercatat setelah pesan yang ditandatanganinya, atau tidak pernah.",
        ),
        Doubt.KEY_REVOKED: Words(
            "The key had been revoked before the message got its place in the log; its date does not matter.",
            "Kunci sudah dicabut sebelum pesan tercatat dalam log; tanggal pesan tidak berpengaruh.",
        ),
        Doubt.KEY_SUSPENDED: Words(
            "The key was suspended when the message got its place in the log.",
            "Kunci sedang ditangguhkan ketika pesan tercatat dalam log.",
        ),
        Doubt.REGISTRY_INVALID: Words(
            "A registry document is not signed by persons whom the root names, or may not follow the one before it.",
            "Dokumen registri tidak ditandatangani pejabat dalam dokumen akar, atau tidak sah setelah yang sebelumnya.",
        ),
        Doubt.REGISTRY_HISTORY_INCOMPLETE: Words(
            "A version of the registry is missing from the pack.", "Satu versi registri tidak ada dalam paket."
        ),
        Doubt.REGISTRY_TOO_FEW_PERSONS: Words(
            "Fewer persons signed a registry document than must.",
            "Dokumen registri ditandatangani oleh kurang dari jumlah orang yang diwajibkan.",
        ),
        Doubt.RULE_SET_NOT_IN_LOG: Words(
            "The rule set's bytes are not those that the log names.", "Isi ketentuan tidak sama dengan catatan log."
        ),
        Doubt.RULE_SET_NOT_REGISTERED: Words(
            "The signed registry does not name this rule set.", "Registri bertanda tangan tidak menyebut ketentuan ini."
        ),
        Doubt.RULE_SET_WRONG: Words(
            "The recommendation names another rule set than the one that its application's date asks for.",
            "Rekomendasi menyebut ketentuan lain daripada yang berlaku pada tanggal permohonan.",
        ),
        Doubt.CONTRACT_DIFFERS: Words(
            "The event contract in the log is not the one that this program reads by.",
            "Kontrak peristiwa dalam log bukan yang dipakai program ini.",
        ),
        Doubt.RECOMMENDATION_SIGNATURE_INVALID: Words(
            "The recommendation is not signed by a key of the hub.", "Rekomendasi tidak ditandatangani kunci hub."
        ),
        Doubt.PROOF_MISSING: Words(
            "The recommendation comes without the proof that it is in the log.",
            "Rekomendasi tidak disertai bukti bahwa ia tercatat dalam log.",
        ),
        Doubt.REVISION_WRONG: Words(
            "The revisions of the recommendation do not follow each other.", "Urutan revisi rekomendasi tidak benar."
        ),
        Doubt.NOT_FOUNDED: Words(
            "The recommendation does not follow from the signed messages.",
            "Rekomendasi tidak berdasar pada pesan yang ditandatangani.",
        ),
        Doubt.BASIS_MISSING: Words(
            "The recommendation rests on a message that the pack does not hold.",
            "Rekomendasi mendasarkan diri pada pesan yang tidak ada dalam paket.",
        ),
        Doubt.BASIS_NOT_BEFORE: Words(
            "The recommendation rests on a message that was logged after it.",
            "Rekomendasi mendasarkan diri pada pesan yang tercatat sesudahnya.",
        ),
        Doubt.BASIS_HASH_WRONG: Words(
            "The recommendation names other bytes of a message than the signed ones.",
            "Rekomendasi menyebut isi pesan yang berbeda dari yang ditandatangani.",
        ),
        Doubt.BASIS_DIFFERS: Words(
            "The recommendation names another basis than the decision has.",
            "Dasar rekomendasi berbeda dari hasil perhitungan ulang.",
        ),
        Doubt.CONTENT_DIFFERS: Words(
            "The recommendation says something else than the decision comes to.",
            "Isi rekomendasi berbeda dari hasil perhitungan ulang.",
        ),
        Doubt.WITHDRAWAL_WRONG: Words(
            "The withdrawal does not follow from the signed messages.",
            "Penarikan rekomendasi tidak berdasar pada pesan yang ditandatangani.",
        ),
        Doubt.PAYMENT_USED_TWICE: Words(
            "One payment carries two recommendations.", "Satu pembayaran dipakai untuk dua rekomendasi."
        ),
        Proven.CHECKPOINT: Words(
            "The log signed its state, and as many witnesses as you ask for cosigned it.",
            "Keadaan log ditandatangani, dan saksi sebanyak yang Anda minta ikut menandatangani.",
        ),
        Proven.LEAVES: Words(
            "Every entry that the pack shows stands in that log.", "Semua catatan dalam paket ada di log tersebut."
        ),
        Proven.REGISTRY: Words(
            "The registry's documents are signed by the root and follow each other.",
            "Dokumen registri ditandatangani akar dan berurutan.",
        ),
        Proven.MESSAGES: Words(
            "Each message was signed by a key that was in force at its place in the log.",
            "Setiap pesan ditandatangani kunci yang berlaku pada tempatnya di log.",
        ),
        Proven.RECOMMENDATION: Words(
            "The decision was computed again from these messages and came to the same bytes.",
            "Keputusan dihitung ulang dari pesan-pesan ini dan hasilnya sama persis.",
        ),
        Proven.PAYMENTS: Words(
            "No payment carries another recommendation, as far as the hub says.",
            "Tidak ada pembayaran yang dipakai rekomendasi lain, menurut keterangan hub.",
        ),
        Beyond.COMPLETENESS: Words(
            "Whether the log holds more messages of this case: an entry names no case. The monitor watches this.",
            "Apakah log memuat pesan lain tentang perkara ini: catatan tidak menyebut perkara. Pemantau mengawasinya.",
        ),
        Beyond.REGISTRY_AFTERWARDS: Words(
            "Whether a later registry version exists: give the newest one that you know of to rule that out.",
            "Apakah ada versi registri yang lebih baru: berikan versi terbaru yang Anda ketahui.",
        ),
        Beyond.NO_WITNESS: Words(
            "Whether the log shows everybody the same: no witness was asked for.",
            "Apakah log sama bagi semua pihak: tidak ada saksi yang diminta.",
        ),
        Beyond.ORIGINAL_ERASED: Words(
            "What an erased message said: only that it was accepted, and its digest, are proven.",
            "Isi pesan yang dihapus: hanya penerimaan dan nilai hash-nya yang terbukti.",
        ),
        Beyond.NO_RECOMMENDATION: Words(
            "There is no recommendation in this pack.", "Tidak ada rekomendasi dalam paket ini."
        ),
        Beyond.RECOMMENDATION_ERASED: Words(
            "What an erased recommendation said: only its number, revision and state, and its place, are proven.",
            "Isi rekomendasi yang dihapus: hanya nomor, revisi, status, dan tempatnya di log yang terbukti.",
        ),
        Beyond.LOG_SUCCEEDED: Words(
            "What stood at the end of the earlier log: it was lost, and this log took over from what was left.",
            "Isi bagian akhir log sebelumnya: hilang, dan log ini melanjutkan dari catatan yang tersisa.",
        ),
        Fault.NOTE_MALFORMED: Words(
            "A signed note is not of its form.", "Catatan bertanda tangan tidak sah bentuknya."
        ),
        Fault.VERIFIER_KEY_MALFORMED: Words(
            "A verifier key is not of its form.", "Kunci verifikasi tidak sah bentuknya."
        ),
        Fault.CHECKPOINT_MALFORMED: Words("The checkpoint is not of its form.", "Checkpoint tidak sah bentuknya."),
        Fault.PROOF_MALFORMED: Words("The proof is not of its form.", "Bukti tidak sah bentuknya."),
        Fault.TILE_MALFORMED: Words("A tile of the log is not of its form.", "Potongan log tidak sah bentuknya."),
        Fault.TILE_MISSING: Words("A tile of the log is missing.", "Potongan log tidak ada."),
        Fault.ORIGIN_WRONG: Words("This is another log than yours.", "Ini log lain, bukan log Anda."),
        Fault.LOG_SIGNATURE_MISSING: Words(
            "No key of the log that you trust signed the checkpoint.",
            "Checkpoint tidak ditandatangani kunci log yang Anda percayai.",
        ),
        Fault.SIGNATURE_INVALID: Words(
            "A signature under the checkpoint does not verify.", "Tanda tangan pada checkpoint tidak cocok."
        ),
        Fault.COSIGNATURE_STALE: Words(
            "A witness's cosignature is too old for what it covers.",
            "Tanda tangan saksi terlalu lama untuk isi yang dicakupnya.",
        ),
        Fault.COSIGNATURE_FROM_FUTURE: Words(
            "A witness's cosignature is dated in the future.", "Tanda tangan saksi bertanggal di masa depan."
        ),
        Fault.QUORUM_MISSING: Words(
            "Fewer witnesses cosigned than you ask for.", "Jumlah saksi yang menandatangani kurang dari yang diminta."
        ),
        Fault.INCLUSION_INVALID: Words(
            "An entry is not in the log at the place where it is said to be.",
            "Catatan tidak ada dalam log pada tempat yang disebutkan.",
        ),
        Fault.CONSISTENCY_INVALID: Words(
            "The log is not the earlier log with entries added: its past was changed.",
            "Log bukan kelanjutan log sebelumnya: masa lalunya diubah.",
        ),
        Fault.ROLLBACK: Words("The log became shorter.", "Log menjadi lebih pendek."),
        Fault.FORK: Words("The log shows two pasts: it forked.", "Log menunjukkan dua masa lalu: log bercabang."),
    }
)


class Finding(NamedTuple):
    """One result: its code, what it is about, and a detail that names places and rules but never a person."""

    verdict: Verdict
    code: str
    subject: str
    detail: str = ""

    @property
    def words(self) -> Words:
        """The code in plain words."""
        return WORDS[self.code]


@dataclass(slots=True)
class Findings:
    """All results of one recheck, in the order in which they were found."""

    all: list[Finding] = field(default_factory=list)

    @property
    def failures(self) -> list[Finding]:
        """What is not proven; empty if everything that a pack can prove is proven."""
        return [one for one in self.all if one.verdict == "not_proven"]

    @property
    def codes(self) -> set[str]:
        """The codes of the failures."""
        return {str(one.code) for one in self.failures}

    def doubt(self, code: Doubt | Fault, subject: str, detail: str = "") -> None:
        """Note that something is not proven."""
        self.all.append(Finding("not_proven", code, subject, detail))

    def prove(self, code: Proven, subject: str, detail: str = "") -> None:
        """Note what is proven."""
        self.all.append(Finding("proven", code, subject, detail))

    def leave(self, code: Beyond, subject: str, detail: str = "") -> None:
        """Note what this pack cannot prove either way."""
        self.all.append(Finding("beyond", code, subject, detail))
