"""verify PACK: what one file proves, in words for people or in JSON for programs."""

import argparse
import json
from pathlib import Path

from connectors.oversight.trust_options import add_trust, read_trust
from connectors.oversight.witness_command import WrongUse
from connectors.oversight.witness_door import utc_now
from contracts.audit.finding import Finding, Findings
from contracts.audit.verify import verify_pack

LABELS = {"proven": "PROVEN / TERBUKTI", "not_proven": "NOT PROVEN / TIDAK TERBUKTI", "beyond": "OPEN / TERBUKA"}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a program's."""
    parser = commands.add_parser(
        "verify",
        help="recheck a pack, offline",
        description="Recheck a pack made by `hub audit export`: signatures, keys by log position, proofs, and the "
        "decision itself, computed again. No network, no database, no hub. "
        "Exit codes: 0 everything that a pack can prove is proven, 1 something is not, 2 wrong use.",
        epilog="Example: python -m connectors.oversight verify pack.json --root root.jwk.json --log-key log.vkey "
        "--witness-key witness.vkey",
    )
    parser.add_argument("pack", type=Path, metavar="PACK", help="the file")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    trust = read_trust(arguments, utc_now())
    try:
        raw = arguments.pack.read_bytes()
    except OSError as error:
        raise WrongUse(f"{arguments.pack} cannot be read: {error.strerror}.") from None
    findings = verify_pack(raw, trust)
    print(write_json(findings) if arguments.json else write_text(findings))
    return int(bool(findings.failures))


def describe(finding: Finding) -> dict[str, str]:
    """Return a finding as JSON holds it."""
    words = finding.words
    return {
        "verdict": finding.verdict,
        "code": str(finding.code),
        "subject": finding.subject,
        "detail": finding.detail,
        "en": words.en,
        "id": words.id,
    }


def write_json(findings: Findings) -> str:
    """Write all findings as one JSON object."""
    return json.dumps(
        {"proven": not findings.failures, "findings": list(map(describe, findings.all))}, ensure_ascii=False
    )


def write_text(findings: Findings) -> str:
    """Write all findings for people, in both languages."""
    lines = []
    for finding in findings.all:
        about = f"{finding.subject} ({finding.detail})" if finding.detail else finding.subject
        lines += [f"{LABELS[finding.verdict]} [{finding.code}] {about}"]
        lines += [f"    {finding.words.en}", f"    {finding.words.id}"]
    number = len(findings.failures)
    lines.append(
        f"Result: {number} not proven. / Hasil: {number} tidak terbukti."
        if number
        else "Result: proven. / Hasil: terbukti."
    )
    return "\n".join(lines)
