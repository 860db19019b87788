"""What the monitor alarms on, beside what a recheck of a pack finds, in plain words of both languages."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from contracts.audit.finding import WORDS, Words


class Cause(StrEnum):
    """Why there is an alarm. A name is never reused."""

    ENTRY_MALFORMED = "entry_malformed"
    MESSAGE_KEY_NOT_IN_FORCE = "message_key_not_in_force"
    MESSAGE_TWICE = "message_twice"
    MESSAGE_NOT_SHOWN = "message_not_shown"
    MESSAGE_LEFT_OUT = "message_left_out"
    RECOMMENDATION_NOT_SHOWN = "recommendation_not_shown"
    REGISTRY_NOT_SHOWN = "registry_not_shown"
    REGISTRY_VERSION_SKIPPED = "registry_version_skipped"
    KEY_CHANGE_UNFOUNDED = "key_change_unfounded"
    RULE_SET_CHANGED = "rule_set_changed"
    CONTRACT_CHANGED = "contract_changed"
    SEQUENCE_GAP = "sequence_gap"
    COUNT_DIFFERS = "count_differs"
    COUNT_SKIPPED = "count_skipped"
    COUNT_NOT_MADE = "count_not_made"
    LOOKUPS_SKIPPED = "lookups_skipped"
    REPAIR_UNAPPROVED = "repair_unapproved"
    PACK_OF_ANOTHER_PAST = "pack_of_another_past"
    LOG_SUCCEEDED = "log_succeeded"
    SUCCESSION_UNFOUNDED = "succession_unfounded"


CAUSES: Final[Mapping[str, Words]] = MappingProxyType(
    {
        Cause.ENTRY_MALFORMED: Words(
            "The log holds an entry that the protocol does not know.", "Log memuat catatan yang tidak dikenal protokol."
        ),
        Cause.MESSAGE_KEY_NOT_IN_FORCE: Words(
            "A message was accepted under a key that did not count at its place in the log.",
            "Pesan diterima dengan kunci yang tidak berlaku pada tempatnya di log.",
        ),
        Cause.MESSAGE_TWICE: Words("The log holds one message twice.", "Log memuat satu pesan dua kali."),
        Cause.MESSAGE_NOT_SHOWN: Words(
            "Accepted messages are in the log and nobody shows what they say.",
            "Pesan yang diterima tercatat dalam log tetapi isinya tidak ditunjukkan.",
        ),
        Cause.MESSAGE_LEFT_OUT: Words(
            "A message about a case was left out of its pack, so the decision was not computed from everything.",
            "Pesan tentang suatu perkara tidak dimasukkan ke paketnya, sehingga keputusannya tidak lengkap dasarnya.",
        ),
        Cause.RECOMMENDATION_NOT_SHOWN: Words(
            "A recommendation is in the log and nobody shows on what it rests.",
            "Rekomendasi tercatat dalam log tetapi dasarnya tidak ditunjukkan.",
        ),
        Cause.REGISTRY_NOT_SHOWN: Words(
            "The registry was changed and nobody shows the signed document.",
            "Registri diubah tetapi dokumen bertanda tangannya tidak ditunjukkan.",
        ),
        Cause.REGISTRY_VERSION_SKIPPED: Words(
            "The registry's versions do not follow each other.", "Versi registri tidak berurutan."
        ),
        Cause.KEY_CHANGE_UNFOUNDED: Words(
            "The log adds, revokes or suspends a key, or names a root document, and nobody signed for that.",
            "Log mengubah kunci atau menyebut dokumen akar tanpa tanda tangan yang mendasarinya.",
        ),
        Cause.RULE_SET_CHANGED: Words(
            "A rule set came into the log that is not among those installed here.",
            "Ada ketentuan baru dalam log yang tidak terpasang di sini.",
        ),
        Cause.CONTRACT_CHANGED: Words(
            "An event contract came into the log that is not among those installed here.",
            "Ada kontrak peristiwa baru dalam log yang tidak terpasang di sini.",
        ),
        Cause.SEQUENCE_GAP: Words(
            "A source numbered messages that are not in the log, neither taken nor refused.",
            "Ada nomor urut pesan dari sumber yang tidak ada dalam log, baik diterima maupun ditolak.",
        ),
        Cause.COUNT_DIFFERS: Words(
            "The hub's count of a day, the participant's and the log do not agree.",
            "Hitungan harian hub, hitungan peserta, dan log tidak sama.",
        ),
        Cause.COUNT_SKIPPED: Words(
            "The hub's daily counts leave out a day or entries of the log.",
            "Hitungan harian hub melewatkan suatu hari atau catatan dalam log.",
        ),
        Cause.COUNT_NOT_MADE: Words(
            "The hub has stopped counting a source's days.", "Hub berhenti menghitung hari-hari suatu sumber."
        ),
        Cause.LOOKUPS_SKIPPED: Words(
            "A day's record of look-ups has no root in the log, or a second one.",
            "Catatan pembukaan data suatu hari tidak memiliki akar di log, atau memiliki dua.",
        ),
        Cause.REPAIR_UNAPPROVED: Words(
            "An operator took a refused message up again, or approved that, without a second person.",
            "Operator mengambil lagi pesan yang ditolak, atau menyetujuinya, tanpa orang kedua.",
        ),
        Cause.PACK_OF_ANOTHER_PAST: Words(
            "A pack shows another entry than the log showed here: the log has two pasts.",
            "Paket menunjukkan catatan lain daripada log di sini: log memiliki dua masa lalu.",
        ),
        Cause.LOG_SUCCEEDED: Words(
            "An earlier log ended because its newest entries were lost, and this one took over. Have it explained.",
            "Log sebelumnya berakhir karena catatan terbarunya hilang, dan dilanjutkan log ini. Mintalah penjelasan.",
        ),
        Cause.SUCCESSION_UNFOUNDED: Words(
            "The log that took over names less of the earlier one, or another, than was seen of it.",
            "Log lanjutan menyebut log sebelumnya kurang dari, atau berbeda dengan, yang pernah terlihat.",
        ),
    }
)


class Alarm(NamedTuple):
    """One alarm; `evidence` is what proves it, to be shown to others."""

    code: str
    subject: str
    detail: str
    evidence: Mapping[str, Any]

    @property
    def words(self) -> Words:
        """The code in plain words."""
        return CAUSES.get(self.code) or WORDS[self.code]

    def to_json(self) -> dict[str, Any]:
        """Return the alarm as JSON holds it."""
        words = self.words
        return {
            "code": str(self.code), "subject": self.subject, "detail": self.detail, "en": words.en, "id": words.id,
            "evidence": dict(self.evidence),
        }  # fmt: skip
