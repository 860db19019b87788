"""Why something about the evidence log is not proven: a closed list, apart from the messages' codes.

Unproven        what was shown does not prove what it should; `.fault` is stable for ever
"""

from enum import StrEnum


class Fault(StrEnum):
    """Every reason there is. A name is never reused."""

    NOTE_MALFORMED = "note_malformed"
    VERIFIER_KEY_MALFORMED = "verifier_key_malformed"
    CHECKPOINT_MALFORMED = "checkpoint_malformed"
    PROOF_MALFORMED = "proof_malformed"
    TILE_MALFORMED = "tile_malformed"
    TILE_MISSING = "tile_missing"
    ORIGIN_WRONG = "origin_wrong"
    LOG_SIGNATURE_MISSING = "log_signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    COSIGNATURE_STALE = "cosignature_stale"
    COSIGNATURE_FROM_FUTURE = "cosignature_from_future"
    QUORUM_MISSING = "quorum_missing"
    INCLUSION_INVALID = "inclusion_invalid"
    CONSISTENCY_INVALID = "consistency_invalid"
    ROLLBACK = "rollback"
    FORK = "fork"


class Unproven(Exception):
    """What was shown does not prove what it should. `detail` names a place or a rule and may be shown to anybody."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}" if detail else str(fault))
        self.fault = fault
        self.detail = detail
