"""docs/reference/refusal-codes.md: every code, whose fault it is and what to do, in English and Indonesian."""

from contracts.errors import EXPLANATIONS, Code
from tests.docs.markdown import GENERATED, table

#: The groups of the list, by the code with which each begins.
GROUPS = {
    Code.RECORD_TOMBSTONE: "The record",
    Code.JWS_MALFORMED: "The signature",
    Code.KEY_UNKNOWN: "The key",
    Code.VALUE_NOT_UTF8: "The value and its attributes",
    Code.PARTICIPANT_UNKNOWN: "What this signer may say, where and when",
    Code.EQUIVOCATION: "What only the hub can see",
    Code.PROOF_MISSING: "What a recipient sees",
    Code.REGISTRY_MALFORMED: "The registry document",
    Code.ACT_MALFORMED: "What persons sign",
}
FAULTS = {"sender": "sender", "hub": "hub", "nobody": "nobody"}

INTRODUCTION = f"""# Refusal codes

{GENERATED}

A message is accepted, a duplicate, refused, or deferred; nothing else happens to it. A refused one stands in quarantine (`hub quarantine list`) under one of these codes, and its sender gets a signed receipt with the same code if the signature told who that is. Nothing waits behind it. A code never changes its meaning.

*Deferred* means: the message names a key, a participant or a contract that the registry does not know yet. It is judged again when the registry changes, and refused after `limits.deferral_s` seconds.

*Pesan yang ditolak disimpan di karantina dengan salah satu kode di bawah ini. Pengirim menerima tanda terima bertanda tangan dengan kode yang sama. Kolom "artinya" menjelaskan sebabnya, kolom "yang harus dilakukan" menjelaskan perbaikannya. Kode yang ditunda diperiksa ulang begitu registri berubah.*
"""  # noqa: E501


def write_page() -> str:
    """Return the page."""
    sections = [INTRODUCTION]
    rows: list[tuple[str, ...]] = []
    for code in Code:
        if code in GROUPS:
            _close(sections, rows)
            sections.append(f"## {GROUPS[code]}\n")
        said = EXPLANATIONS[code]
        whose = f"{FAULTS[said.fault]}{', deferred' if said.deferrable else ''}"
        rows.append((f"`{code}`", whose, said.meaning_en, said.remedy_en, said.meaning_id, said.remedy_id))
    _close(sections, rows)
    return "\n".join(sections)


def _close(sections: list[str], rows: list[tuple[str, ...]]) -> None:
    if rows:
        sections.append(table(("code", "fault", "means", "what to do", "artinya", "yang harus dilakukan"), rows))
        rows.clear()
