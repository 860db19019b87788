"""The command `hub`. Whatever goes wrong is told in one sentence, with an exit code that says whose turn it is."""

import json
import sys
from collections.abc import Sequence
from ssl import SSLError

import asyncpg
import typer
from aiokafka.errors import KafkaError

from contracts.errors import EXPLANATIONS, RegistryError
from contracts.rules.rulebook import RuleSetError
from hub.commands import examination, quarantine, registry, service
from hub.commands.terminal import EXIT_CODES, FOUND_WRONG, UNREACHABLE, WRONG_USE, print_fault
from hub.intake import IntakeFailed
from hub.registration import ChangeInvalid
from hub.relay import RelayRefused
from hub.release import KeyNotOurs
from hub.settings import SettingsInvalid
from hub.store.schema import SchemaOutdated
from hub.topics import KafkaUnreachable, TopicChanged
from hub.trust import RegistryAbsent

WRONG_SETTINGS = (SettingsInvalid, SchemaOutdated, RegistryAbsent, ChangeInvalid, KeyNotOurs, RuleSetError)
WRONG_STATE = (RelayRefused, TopicChanged, IntakeFailed)
REFUSED_LOGIN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, SSLError, TimeoutError)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help=f"The exchange's hub. Settings come from the environment: docs/reference/settings.md.\n\n{EXIT_CODES}",
    epilog="Example: hub migrate && hub participants add first.json --root-key root.pem && hub topics apply && hub run",
)
app.add_typer(service.app)
app.add_typer(examination.app)
app.add_typer(examination.case_app, name="case")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(registry.participants_app, name="participants")
app.add_typer(registry.keys_app, name="keys")
app.add_typer(registry.topics_app, name="topics")
app.add_typer(examination.vectors_app, name="vectors")


def explain(error: BaseException) -> tuple[int, str] | None:
    """Return the exit code and the sentence for an error that an operator can act on; None for a defect."""
    if isinstance(error, RegistryError):
        meaning = EXPLANATIONS[error.code].meaning_en
        return WRONG_USE, f"The registry was refused ({error}): {meaning}"
    if isinstance(error, WRONG_SETTINGS):
        return WRONG_USE, str(error)
    if isinstance(error, WRONG_STATE):
        return FOUND_WRONG, str(error)
    if isinstance(error, REFUSED_LOGIN):
        return WRONG_USE, f"The database refuses this user or has no such database ({type(error).__name__})."
    if isinstance(error, KafkaUnreachable):
        return UNREACHABLE, str(error)
    if isinstance(error, KafkaError):
        return UNREACHABLE, f"Kafka cannot be reached ({type(error).__name__})."
    if isinstance(error, OUTAGES):
        return UNREACHABLE, f"The database cannot be reached ({type(error).__name__})."
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(words, prog_name="hub")
    except Exception as error:
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
