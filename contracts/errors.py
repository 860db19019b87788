"""Why something is refused: a closed list of codes, each with whose fault it is and what to do.

    Refusal                     what a sender, the registry or the hub got wrong; `.code` is stable for ever
      RegistryError             the registry document itself cannot be used

Whether a verdict may change later is data (`Explanation.deferrable`), not a class: a key, participant or contract that
the registry does not know yet may be on its way.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Fault = Literal["sender", "hub", "nobody"]


class Code(StrEnum):
    """Every reason there is. A code is never renamed or reused; new ones are added at the end of their group."""

    # The record as Kafka carries it.
    RECORD_TOMBSTONE = "record_tombstone"
    VALUE_TOO_LARGE = "value_too_large"
    HEADER_MISSING = "header_missing"
    HEADER_DUPLICATE = "header_duplicate"
    HEADER_INVALID = "header_invalid"
    HEADER_FORBIDDEN = "header_forbidden"
    # The signature.
    JWS_MALFORMED = "jws_malformed"
    JWS_HEADER_INVALID = "jws_header_invalid"
    JWS_ALG_FORBIDDEN = "jws_alg_forbidden"
    JWS_TYP_WRONG = "jws_typ_wrong"
    JWS_PAYLOAD_ATTACHED = "jws_payload_attached"
    SIGNATURE_INVALID = "signature_invalid"
    BATCH_STATEMENT_INVALID = "batch_statement_invalid"
    BATCH_PROOF_MISSING = "batch_proof_missing"
    BATCH_PROOF_UNEXPECTED = "batch_proof_unexpected"
    BATCH_PROOF_INVALID = "batch_proof_invalid"
    BATCH_SIZE_INVALID = "batch_size_invalid"
    # The key.
    KEY_UNKNOWN = "key_unknown"
    KEY_NOT_YET_VALID = "key_not_yet_valid"
    KEY_EXPIRED = "key_expired"
    KEY_REVOKED = "key_revoked"
    KEY_USE_WRONG = "key_use_wrong"
    KEY_SUSPENDED = "key_suspended"
    # The value and its attributes.
    VALUE_NOT_UTF8 = "value_not_utf8"
    VALUE_BOM = "value_bom"
    JSON_INVALID = "json_invalid"
    JSON_DUPLICATE_KEY = "json_duplicate_key"
    ATTRIBUTE_MISSING = "attribute_missing"
    ATTRIBUTE_UNKNOWN = "attribute_unknown"
    ATTRIBUTE_INVALID = "attribute_invalid"
    # What this signer may say, where and when.
    PARTICIPANT_UNKNOWN = "participant_unknown"
    SOURCE_NOT_OWNED = "source_not_owned"
    TYPE_NOT_PERMITTED = "type_not_permitted"
    TOPIC_WRONG = "topic_wrong"
    AUDIENCE_WRONG = "audience_wrong"
    KEY_NOT_SUBJECT = "key_not_subject"
    MESSAGE_EXPIRED = "message_expired"
    MESSAGE_FROM_FUTURE = "message_from_future"
    CONTRACT_UNKNOWN = "contract_unknown"
    DATASCHEMA_WRONG = "dataschema_wrong"
    DATA_INVALID = "data_invalid"
    BANK_NOT_OWNED = "bank_not_owned"
    # What only the hub can see, beside what it already holds.
    EQUIVOCATION = "equivocation"
    SEQUENCE_REUSED = "sequence_reused"
    BILL_CONFLICT = "bill_conflict"
    FACTS_LIMIT = "facts_limit"
    DEFERRAL_LIMIT = "deferral_limit"
    POISON = "poison"
    # What a recipient sees.
    PROOF_MISSING = "proof_missing"
    PROOF_INVALID = "proof_invalid"
    # The registry document.
    REGISTRY_MALFORMED = "registry_malformed"
    REGISTRY_SIGNATURE_INVALID = "registry_signature_invalid"
    REGISTRY_ROLLBACK = "registry_rollback"
    REGISTRY_HISTORY_LOST = "registry_history_lost"
    REGISTRY_KEY_INVALID = "registry_key_invalid"
    # What persons sign: root documents, registries and other acts.
    ACT_MALFORMED = "act_malformed"
    ACT_SIGNATURE_INVALID = "act_signature_invalid"
    ACT_OF_OTHER_ENVIRONMENT = "act_of_other_environment"
    PERSON_UNKNOWN = "person_unknown"
    PERSON_KEY_INVALID = "person_key_invalid"
    PERSONS_TOO_FEW = "persons_too_few"
    ROOT_MALFORMED = "root_malformed"
    ROOT_NOT_PINNED = "root_not_pinned"
    ROOT_CHAIN_BROKEN = "root_chain_broken"
    ROOT_ROLLBACK = "root_rollback"
    PERSON_MAY_NOT = "person_may_not"
    SUSPENSION_NEEDLESS = "suspension_needless"
    PROPOSAL_OUTDATED = "proposal_outdated"


class Refusal(Exception):
    """Something was refused. `detail` names a place or a rule, never a value: it may be logged and shown."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail


class RegistryError(Refusal):
    """The registry document cannot be used; the one in force stays in force."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a code means to the people who meet it, in English and Indonesian."""

    fault: Fault
    deferrable: bool
    meaning_en: str
    meaning_id: str
    remedy_en: str
    remedy_id: str


def _sender(meaning_en: str, meaning_id: str, remedy_en: str, remedy_id: str, deferrable: bool = False) -> Explanation:
    return Explanation("sender", deferrable, meaning_en, meaning_id, remedy_en, remedy_id)


def _hub(meaning_en: str, meaning_id: str, remedy_en: str, remedy_id: str) -> Explanation:
    return Explanation("hub", False, meaning_en, meaning_id, remedy_en, remedy_id)


_SIGN_ANEW_EN = "Build the signature as SPEC.md section 4 says and publish the message again."
_SIGN_ANEW_ID = "Buat tanda tangan menurut SPEC.md bagian 4 dan kirim ulang pesannya."
_NEW_MESSAGE_EN = "Correct the fact at its source and publish it as a new message with a new id and sequence."
_NEW_MESSAGE_ID = "Perbaiki datanya di sumber dan kirim sebagai pesan baru dengan id dan sequence baru."
_ASK_OPERATOR_EN = "Ask the operator of the exchange to correct the registry, then publish again."
_ASK_OPERATOR_ID = "Minta operator pertukaran memperbaiki registri, lalu kirim ulang."
_OPERATOR_EN = "The operator repairs the cause and resends the message from quarantine."
_OPERATOR_ID = "Operator memperbaiki penyebabnya lalu mengirim ulang pesan dari karantina."
_REGISTRY_EN = "Fetch the registry again from the exchange; if it stays so, call the operator by telephone."
_REGISTRY_ID = "Ambil ulang registri dari pertukaran; bila tetap demikian, hubungi operator lewat telepon."
_ACT_EN = "Propose it anew, and let persons of the root document sign it with keys that are in force."
_ACT_ID = "Buat usulan baru, lalu minta pejabat dalam dokumen akar menandatanganinya dengan kunci yang berlaku."
_ROOT_EN = "Compare the root key's thumbprint with the exchange's operator by telephone before anything else."
_ROOT_ID = "Cocokkan thumbprint kunci akar dengan operator pertukaran lewat telepon sebelum melakukan hal lain."

EXPLANATIONS: dict[Code, Explanation] = {
    Code.RECORD_TOMBSTONE: _sender(
        "The record has no value.",
        "Rekaman tidak memiliki isi.",
        "Publish events only; nothing on a from topic is ever deleted by a record without a value.",
        "Kirim hanya peristiwa; tidak ada yang dihapus dengan rekaman kosong pada topik from.",
    ),
    Code.VALUE_TOO_LARGE: _sender(
        "The value is larger than 60 KiB.",
        "Isi pesan lebih besar dari 60 KiB.",
        "Send documents by their digest, not by their content.",
        "Kirim dokumen sebagai nilai hash, bukan isinya.",
    ),
    Code.HEADER_MISSING: _sender(
        "A required record header is absent.",
        "Header wajib pada rekaman tidak ada.",
        "Set the headers content-type and jws, each once.",
        "Isi header content-type dan jws, masing-masing sekali.",
    ),
    Code.HEADER_DUPLICATE: _sender(
        "A record header appears more than once.",
        "Header rekaman muncul lebih dari sekali.",
        "Set each header once.",
        "Isi setiap header satu kali saja.",
    ),
    Code.HEADER_INVALID: _sender(
        "A record header has a value it must not have.",
        "Nilai header rekaman tidak sah.",
        "Compare the headers with SPEC.md section 2.",
        "Bandingkan header dengan SPEC.md bagian 2.",
    ),
    Code.HEADER_FORBIDDEN: _sender(
        "A record header is present that must not be (ce_*, or a known name in other letter case).",
        "Ada header yang dilarang (ce_*, atau nama yang dikenal dengan huruf besar-kecil lain).",
        "Use CloudEvents structured mode only, and lower-case header names.",
        "Gunakan mode terstruktur CloudEvents saja, dengan nama header huruf kecil.",
    ),
    Code.JWS_MALFORMED: _sender(
        "The jws header is not a compact JWS in canonical base64url.",
        "Header jws bukan JWS ringkas dengan base64url kanonik.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.JWS_HEADER_INVALID: _sender(
        "The protected header does not have exactly the members alg, kid and typ.",
        "Header terlindung tidak tepat berisi alg, kid, dan typ.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.JWS_ALG_FORBIDDEN: _sender(
        "The algorithm is not the one that belongs to the key.",
        "Algoritme bukan milik kunci tersebut.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.JWS_TYP_WRONG: _sender(
        "The typ does not fit what was signed.",
        "Nilai typ tidak sesuai dengan yang ditandatangani.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.JWS_PAYLOAD_ATTACHED: _sender(
        "A single signature carries its payload; it must be detached.",
        "Tanda tangan tunggal membawa isi; seharusnya terpisah.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.SIGNATURE_INVALID: _sender(
        "The signature does not verify: the bytes changed after signing, or another key signed them.",
        "Tanda tangan tidak cocok: isi berubah setelah ditandatangani, atau kunci lain yang menandatangani.",
        "Sign and send the same bytes; treat a repeat of this as an attack.",
        "Tanda tangani dan kirim byte yang sama; bila berulang, anggap sebagai serangan.",
    ),
    Code.BATCH_STATEMENT_INVALID: _sender(
        "The batch statement is not exactly what SPEC.md asks, or contradicts itself or the message.",
        "Pernyataan batch tidak sesuai SPEC.md, atau bertentangan dengan dirinya atau pesannya.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.BATCH_PROOF_MISSING: _sender(
        "A batch-signed message has no jws-proof.",
        "Pesan bertanda tangan batch tidak memiliki jws-proof.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.BATCH_PROOF_UNEXPECTED: _sender(
        "A singly signed message has a jws-proof.",
        "Pesan bertanda tangan tunggal memiliki jws-proof.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.BATCH_PROOF_INVALID: _sender(
        "The jws-proof does not lead from this value to the signed root.",
        "Jws-proof tidak menghubungkan isi ini dengan akar yang ditandatangani.",
        _SIGN_ANEW_EN,
        _SIGN_ANEW_ID,
    ),
    Code.BATCH_SIZE_INVALID: _sender(
        "A batch holds 1 to 64 messages.", "Satu batch berisi 1 sampai 64 pesan.", _SIGN_ANEW_EN, _SIGN_ANEW_ID
    ),
    Code.KEY_UNKNOWN: _sender(
        "The registry does not know this key.",
        "Registri tidak mengenal kunci ini.",
        "Register the key before using it.",
        "Daftarkan kunci sebelum memakainya.",
        deferrable=True,
    ),
    Code.KEY_NOT_YET_VALID: _sender(
        "The key is not valid yet.",
        "Kunci belum berlaku.",
        "Wait until the key's nbf, or sign with the earlier key.",
        "Tunggu sampai nbf kunci, atau gunakan kunci sebelumnya.",
    ),
    Code.KEY_EXPIRED: _sender(
        "The key had expired when the message arrived.",
        "Kunci sudah kedaluwarsa saat pesan tiba.",
        "Sign with the current key and publish again.",
        "Tanda tangani dengan kunci yang berlaku dan kirim ulang.",
    ),
    Code.KEY_REVOKED: _sender(
        "The key has been revoked.",
        "Kunci telah dicabut.",
        "Sign with another registered key; if you did not revoke it, call the operator by telephone.",
        "Gunakan kunci terdaftar lain; bila bukan Anda yang mencabut, hubungi operator lewat telepon.",
    ),
    Code.KEY_USE_WRONG: _sender(
        "The key is registered for another use.",
        "Kunci terdaftar untuk kegunaan lain.",
        "Sign messages with a message key and API assertions with an API key.",
        "Gunakan kunci pesan untuk pesan dan kunci API untuk pernyataan API.",
    ),
    Code.KEY_SUSPENDED: _sender(
        "The key is suspended for now: the message waits until that is lifted or the key revoked, with no time limit.",
        "Kunci sedang ditangguhkan: pesan menunggu sampai penangguhan dicabut atau kunci dicabut, tanpa batas waktu.",
        "Call the operator by telephone; sign new messages with another registered key.",
        "Hubungi operator lewat telepon; tandatangani pesan baru dengan kunci lain yang terdaftar.",
        deferrable=True,
    ),
    Code.VALUE_NOT_UTF8: _sender("The value is not UTF-8.", "Isi pesan bukan UTF-8.", _NEW_MESSAGE_EN, _NEW_MESSAGE_ID),
    Code.VALUE_BOM: _sender(
        "The value starts with a byte order mark.",
        "Isi pesan diawali byte order mark.",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.JSON_INVALID: _sender(
        "The value is not one strict JSON object (RFC 8259; no NaN, Infinity, NUL or number past 2^53 - 1).",
        "Isi pesan bukan satu objek JSON yang ketat (RFC 8259; tanpa NaN, Infinity, NUL, atau angka di atas 2^53 - 1).",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.JSON_DUPLICATE_KEY: _sender(
        "A member name appears twice in one JSON object.",
        "Nama anggota muncul dua kali dalam satu objek JSON.",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.ATTRIBUTE_MISSING: _sender(
        "A required attribute is absent.", "Atribut wajib tidak ada.", _NEW_MESSAGE_EN, _NEW_MESSAGE_ID
    ),
    Code.ATTRIBUTE_UNKNOWN: _sender(
        "There is an attribute that SPEC.md does not know.",
        "Ada atribut yang tidak dikenal SPEC.md.",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.ATTRIBUTE_INVALID: _sender(
        "An attribute has a value it must not have.", "Nilai atribut tidak sah.", _NEW_MESSAGE_EN, _NEW_MESSAGE_ID
    ),
    Code.PARTICIPANT_UNKNOWN: _sender(
        "The registry knows no participant with this source.",
        "Registri tidak mengenal peserta dengan sumber ini.",
        _ASK_OPERATOR_EN,
        _ASK_OPERATOR_ID,
        deferrable=True,
    ),
    Code.SOURCE_NOT_OWNED: _sender(
        "The source belongs to another participant.", "Sumber ini milik peserta lain.", _NEW_MESSAGE_EN, _NEW_MESSAGE_ID
    ),
    Code.TYPE_NOT_PERMITTED: _sender(
        "This participant may not publish this event type.",
        "Peserta ini tidak boleh mengirim jenis peristiwa ini.",
        _ASK_OPERATOR_EN,
        _ASK_OPERATOR_ID,
    ),
    Code.TOPIC_WRONG: _sender(
        "The message stands on another participant's topic.",
        "Pesan berada pada topik peserta lain.",
        "Publish on from.<your participant id>.",
        "Kirim pada from.<id peserta Anda>.",
    ),
    Code.AUDIENCE_WRONG: _sender(
        "The audience is not this environment and topic.",
        "Audience bukan lingkungan dan topik ini.",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.KEY_NOT_SUBJECT: _sender(
        "The record key is not the event's subject.",
        "Kunci rekaman bukan subject peristiwa.",
        "Use the subject, in UTF-8, as the record key.",
        "Gunakan subject, dalam UTF-8, sebagai kunci rekaman.",
    ),
    Code.MESSAGE_EXPIRED: _sender(
        "The message arrived after its expirytime.",
        "Pesan tiba setelah expirytime.",
        "Publish the fact as a new message; facts do not expire, messages do.",
        "Kirim sebagai pesan baru; fakta tidak kedaluwarsa, pesanlah yang kedaluwarsa.",
    ),
    Code.MESSAGE_FROM_FUTURE: _sender(
        "The message is dated later than its arrival.",
        "Tanggal pesan lebih lambat dari kedatangannya.",
        "Correct the clock and publish as a new message.",
        "Perbaiki jam sistem dan kirim sebagai pesan baru.",
    ),
    Code.CONTRACT_UNKNOWN: _sender(
        "The exchange does not know this event type or version.",
        "Pertukaran tidak mengenal jenis atau versi peristiwa ini.",
        _ASK_OPERATOR_EN,
        _ASK_OPERATOR_ID,
        deferrable=True,
    ),
    Code.DATASCHEMA_WRONG: _sender(
        "The dataschema is not the one of this event type.",
        "Dataschema bukan milik jenis peristiwa ini.",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.DATA_INVALID: _sender(
        "The data does not follow the event's contract; the detail names the field.",
        "Data tidak sesuai kontrak peristiwa; rinciannya menyebut kolomnya.",
        _NEW_MESSAGE_EN,
        _NEW_MESSAGE_ID,
    ),
    Code.BANK_NOT_OWNED: _sender(
        "The bank_code in the data is not that of this participant.",
        "Kode bank (bank_code) dalam data bukan milik peserta ini.",
        "Report one's own payments only; if the bank code is right, ask the operator to correct the registry.",
        "Laporkan pembayaran bank sendiri saja; bila kode bank sudah benar, minta operator memperbaiki registri.",
    ),
    Code.EQUIVOCATION: _sender(
        "The same source and id came before with other bytes.",
        "Source dan id yang sama pernah datang dengan isi lain.",
        "Say which of the two is true; publish a correction as a new message.",
        "Nyatakan mana yang benar; kirim perbaikan sebagai pesan baru.",
    ),
    Code.SEQUENCE_REUSED: _sender(
        "The source used this sequence before for another id.",
        "Sequence ini pernah dipakai untuk id lain.",
        "Restore the spool's counter, then publish as a new message.",
        "Pulihkan penghitung spool, lalu kirim sebagai pesan baru.",
    ),
    Code.BILL_CONFLICT: _sender(
        "The billing code belongs to another application or has other terms.",
        "Kode billing milik permohonan lain atau memiliki ketentuan lain.",
        "Issue a new billing code.",
        "Terbitkan kode billing baru.",
    ),
    Code.FACTS_LIMIT: _sender(
        "The case or billing code holds as many facts of this source as it may.",
        "Jumlah fakta dari sumber ini pada berkas ini sudah mencapai batas.",
        "Call the operator; something repeats itself.",
        "Hubungi operator; ada sesuatu yang berulang.",
    ),
    Code.DEFERRAL_LIMIT: _sender(
        "Too many messages of this sender wait for the registry.",
        "Terlalu banyak pesan pengirim ini menunggu registri.",
        _ASK_OPERATOR_EN,
        _ASK_OPERATOR_ID,
    ),
    Code.POISON: _hub(
        "The hub failed while handling this message.", "Hub gagal memproses pesan ini.", _OPERATOR_EN, _OPERATOR_ID
    ),
    Code.PROOF_MISSING: _hub(
        "A recommendation came without the proof that it is in the evidence log.",
        "Rekomendasi datang tanpa bukti bahwa ia tercatat dalam log bukti.",
        "Do not act on it; wait for the record with its proof.",
        "Jangan ditindaklanjuti; tunggu rekaman berbukti.",
    ),
    Code.PROOF_INVALID: _hub(
        "The proof does not show that this recommendation is in the evidence log of the registry.",
        "Bukti yang disertakan tidak menunjukkan bahwa rekomendasi ini tercatat dalam log bukti menurut registri.",
        "Do not act on it; keep the record as evidence and tell the oversight body.",
        "Jangan ditindaklanjuti; simpan rekaman sebagai bukti dan beri tahu lembaga pengawas.",
    ),
    Code.REGISTRY_MALFORMED: _hub(
        "The registry document is not what SPEC.md asks.",
        "Dokumen registri tidak sesuai SPEC.md.",
        _REGISTRY_EN,
        _REGISTRY_ID,
    ),
    Code.REGISTRY_SIGNATURE_INVALID: _hub(
        "The registry document is not signed by the pinned root key.",
        "Dokumen registri tidak ditandatangani kunci akar yang dipasang.",
        _REGISTRY_EN,
        _REGISTRY_ID,
    ),
    Code.REGISTRY_ROLLBACK: _hub(
        "The registry document is not newer than the one in force, or is of another log.",
        "Dokumen registri tidak lebih baru dari yang berlaku, atau milik log lain.",
        _REGISTRY_EN,
        _REGISTRY_ID,
    ),
    Code.REGISTRY_HISTORY_LOST: _hub(
        "The registry document has lost or changed a participant, key or contract of the one in force.",
        "Dokumen registri menghilangkan atau mengubah peserta, kunci, atau kontrak yang berlaku.",
        _REGISTRY_EN,
        _REGISTRY_ID,
    ),
    Code.REGISTRY_KEY_INVALID: _hub(
        "A key in the registry is unusable or stands twice.",
        "Kunci dalam registri tidak dapat dipakai atau ganda.",
        "Make a new key pair and register it.",
        "Buat pasangan kunci baru dan daftarkan.",
    ),
    Code.ACT_MALFORMED: _hub(
        "What persons signed is not in the form that SPEC.md asks.",
        "Yang ditandatangani para pejabat tidak sesuai bentuk dalam SPEC.md.",
        _ACT_EN,
        _ACT_ID,
    ),
    Code.ACT_SIGNATURE_INVALID: _hub(
        "A signature under what persons signed does not verify, or was made for another kind of act.",
        "Tanda tangan pejabat tidak cocok, atau dibuat untuk jenis tindakan lain.",
        _ACT_EN,
        _ACT_ID,
    ),
    Code.ACT_OF_OTHER_ENVIRONMENT: _hub(
        "What persons signed belongs to another environment of the exchange.",
        "Yang ditandatangani para pejabat milik lingkungan pertukaran lain.",
        _ACT_EN,
        _ACT_ID,
    ),
    Code.PERSON_UNKNOWN: _hub(
        "A signature is by a key of nobody whom the root document names.",
        "Ada tanda tangan dengan kunci yang tidak tercantum dalam dokumen akar.",
        _ACT_EN,
        _ACT_ID,
    ),
    Code.PERSON_KEY_INVALID: _hub(
        "A signature is by a person's key that was not in force: not yet, no longer, or revoked.",
        "Ada tanda tangan dengan kunci pejabat yang belum, tidak lagi berlaku, atau dicabut.",
        _ACT_EN,
        _ACT_ID,
    ),
    Code.PERSONS_TOO_FEW: _hub(
        "Fewer persons signed than must; two keys of one person count once.",
        "Penandatangan kurang dari yang diwajibkan; dua kunci satu orang dihitung sekali.",
        "Let another person of the root document sign the same proposal.",
        "Minta pejabat lain dalam dokumen akar menandatangani usulan yang sama.",
    ),
    Code.ROOT_MALFORMED: _hub(
        "A root document is not what SPEC.md asks.",
        "Dokumen akar tidak sesuai SPEC.md.",
        _ROOT_EN,
        _ROOT_ID,
    ),
    Code.ROOT_NOT_PINNED: _hub(
        "No root document is signed by the pinned root key.",
        "Tidak ada dokumen akar yang ditandatangani kunci akar yang dipasang.",
        _ROOT_EN,
        _ROOT_ID,
    ),
    Code.ROOT_CHAIN_BROKEN: _hub(
        "A root document does not follow the one before it, or that one's key did not sign it.",
        "Dokumen akar tidak menyambung ke pendahulunya, atau tidak ditandatangani kuncinya.",
        _ROOT_EN,
        _ROOT_ID,
    ),
    Code.ROOT_ROLLBACK: _hub(
        "The root documents are older than those in force, or others.",
        "Dokumen akar lebih lama dari yang berlaku, atau berbeda.",
        _ROOT_EN,
        _ROOT_ID,
    ),
    Code.PERSON_MAY_NOT: _hub(
        "Who signed this is not among those whom the root document lets do it.",
        "Penandatangan tidak diberi wewenang untuk ini dalam dokumen akar.",
        "Let a person sign whom the root document lets do it.",
        "Minta pejabat yang diberi wewenang dalam dokumen akar menandatanganinya.",
    ),
    Code.SUSPENSION_NEEDLESS: _hub(
        "This key cannot be suspended, or need not be; the detail says why.",
        "Kunci ini tidak dapat atau tidak perlu ditangguhkan; rinciannya menyebut sebabnya.",
        "Look at the key in `hub registry show`.",
        "Periksa kunci itu dengan `hub registry show`.",
    ),
    Code.PROPOSAL_OUTDATED: _hub(
        "The registry has changed since this was proposed.",
        "Registri sudah berubah sejak usulan ini dibuat.",
        "Propose it anew against the version in force, and let it be signed again.",
        "Buat usulan baru terhadap versi yang berlaku, lalu tandatangani lagi.",
    ),
}


def explain(code: Code) -> Explanation:
    """What `code` means and what to do about it."""
    return EXPLANATIONS[code]
