"""findings and statistics: what the packs of everything come to, computed again without the hub."""

import argparse
import csv
import json
import sys
from datetime import date, datetime
from pathlib import Path

from connectors.oversight.reckoning import Reckoning, read_folder
from connectors.oversight.trust_options import add_trust, read_trust
from connectors.oversight.witness_command import WrongUse
from connectors.oversight.witness_door import utc_now
from contracts.wire.instant import write_instant

COLUMNS = ("month", "figure", "by", "of", "value", "log_size", "rule_sets")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a program's."""
    findings = commands.add_parser(
        "findings",
        help="compute the findings again from packs",
        description="Recheck every pack of a folder that `hub audit export --all` wrote, and compute the findings of "
        "the rule sets in them. A finding is a lead, not guilt. Exit codes: 0 none, 1 a finding, or a pack that does "
        "not prove what it says, 2 wrong use.",
        epilog="Example: python -m connectors.oversight findings packs --root root.jwk.json --log-key log.vkey",
    )
    figures = commands.add_parser(
        "statistics",
        help="compute a month's statistics again from packs",
        description="Recheck every pack of a folder that `hub audit export --all` wrote, and compute the statistics of "
        "a month. Cells under 5 are left out. Exit codes: 0 done, 1 a pack does not prove what it says, 2 wrong use.",
        epilog="Example: python -m connectors.oversight statistics packs --month 2026-10 --root root.jwk.json "
        "--log-key log.vkey",
    )
    for parser in (findings, figures):
        parser.add_argument("packs", type=Path, metavar="PACKS", help="the folder")
        add_trust(parser)
    figures.add_argument("--month", required=True, help="the month, YYYY-MM")
    form = figures.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV (the default)")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    findings.add_argument("--json", action="store_true", help="print each finding as a line of JSON")
    findings.set_defaults(command=_show_findings)
    figures.set_defaults(command=_show_statistics)


def _read(arguments: argparse.Namespace, now: datetime) -> Reckoning:
    if not arguments.packs.is_dir():
        raise WrongUse(f"{arguments.packs} is no folder.")
    reckoning = read_folder(arguments.packs, read_trust(arguments, now))
    for name, codes in reckoning.doubtful.items():
        print(f"{name} is left out: {', '.join(codes)}.", file=sys.stderr)
    return reckoning


def _show_findings(arguments: argparse.Namespace) -> int:
    now = utc_now()
    reckoning = _read(arguments, now)
    rules = reckoning.rules
    leads = reckoning.list_leads(now)
    for lead in leads:
        rule = rules.find(lead.rule_set, lead.finding)
        if arguments.json:
            print(json.dumps(lead.to_json() | {"since": write_instant(lead.since)}, ensure_ascii=False))
        elif rule is not None:
            print(
                f"{rule.number} [{lead.finding}] {lead.subject}: {lead.measured} of {lead.denominator} {lead.counted}"
            )
            print(f"    {rule.text_en}\n    {rule.text_id}")
    if not arguments.json:
        print(f"{len(leads)} findings in {len(reckoning.dossiers)} packs. / {len(leads)} temuan.")
    return int(bool(leads or reckoning.doubtful))


def _show_statistics(arguments: argparse.Namespace) -> int:
    try:
        month = date.fromisoformat(f"{arguments.month}-01")
    except ValueError:
        raise WrongUse("--month must be a month such as 2026-10.") from None
    now = utc_now()
    reckoning = _read(arguments, now)
    names = " ".join(sorted(reckoning.rules.by_name))
    rows = [
        {"month": arguments.month, **row._asdict(), "log_size": reckoning.log_size, "rule_sets": names}
        for row in reckoning.count_month(month, now)
    ]
    if arguments.json:
        print(json.dumps({"figures": rows}, ensure_ascii=False))
    else:
        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return int(bool(reckoning.doubtful))
