"""The command `hub`. Whatever goes wrong is told in one sentence, with an exit code that says whose turn it is."""

import json
import sys
from collections.abc import Sequence

import typer

from hub.commands import (
    accounts,
    audit,
    clients,
    counts,
    doctor,
    erase,
    examination,
    kafka,
    log,
    lookups,
    lost,
    oversight,
    proposals,
    quarantine,
    reconcile,
    registry,
    repair,
    retention,
    rights,
    root,
    service,
)
from hub.commands.terminal import EXIT_CODES, print_fault

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help=f"The exchange's hub. Settings come from the environment: docs/reference/settings.md.\n\n{EXIT_CODES}",
    epilog="Example: hub migrate && hub registry apply proposal.json && hub kafka apply && hub run",
)
app.add_typer(service.app)
app.add_typer(doctor.app)
app.add_typer(examination.app)
app.add_typer(oversight.app)
app.add_typer(oversight.findings_app, name="findings")
app.add_typer(oversight.register_app, name="register")
app.add_typer(examination.case_app, name="case")
app.add_typer(accounts.app, name="accounts")
app.add_typer(audit.app, name="audit")
app.add_typer(clients.app, name="clients")
app.add_typer(erase.app, name="erase")
app.add_typer(counts.app, name="counts")
app.add_typer(kafka.app, name="kafka")
app.add_typer(log.app, name="log")
app.add_typer(rights.app, name="database")
app.add_typer(lookups.app, name="lookups")
app.add_typer(lost.app, name="lost")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(reconcile.app, name="reconcile")
app.add_typer(retention.app, name="retention")
app.add_typer(repair.app, name="repair")
app.add_typer(registry.participants_app, name="participants")
app.add_typer(registry.keys_app, name="keys")
app.add_typer(proposals.registry_app, name="registry")
app.add_typer(root.root_app, name="root")
app.add_typer(examination.vectors_app, name="vectors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(words, prog_name="hub")
    except Exception as error:
        # Imported late: it knows the errors of parts that most commands never load.
        from hub.commands.faults import explain

        explained = explain(error)
        if explained is None:
            raise
        code, sentence = explained
        if "--json" in words:
            print(json.dumps({"error": sentence, "exit_code": code}), file=sys.stderr)
        else:
            print_fault(sentence)
        sys.exit(code)


if __name__ == "__main__":
    main()
