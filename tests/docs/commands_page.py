"""docs/reference/commands.md: every command with its help, options and exit codes, from the command lines."""

import argparse
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from connectors.bank.__main__ import app as bank
from connectors.immigration.__main__ import app as immigration
from connectors.ministry.__main__ import app as ministry
from connectors.oversight.__main__ import make_parser
from hub.cli import app as hub
from hub.commands.terminal import EXIT_CODES
from tests.docs.markdown import GENERATED, table

INTRODUCTION = f"""# Commands

{GENERATED}

`hub` is the operator's command; in a checkout it is `.venv/bin/hub`. Each agency has its connector's command. What people read goes to standard output as text, with `--json` as JSON; progress, faults and logs go to standard error. Settings come from the environment: [settings](settings.md).

*`hub` dipakai oleh operator pertukaran; `python -m connectors.<instansi>` dipakai oleh instansi masing-masing. Dengan `--json` keluarannya dapat dibaca program. Kode keluar 0 berarti berhasil.*

## Exit codes

{EXIT_CODES.removeprefix("Exit codes: ")} A process that is told to stop (SIGTERM, SIGINT) ends what it has in hand and exits with 0.
"""  # noqa: E501

CONNECTORS = {"connectors.ministry": ministry, "connectors.bank": bank, "connectors.immigration": immigration}


def write_page() -> str:
    """Return the page."""
    sections = [INTRODUCTION, "## The operator's\n"]
    sections += [_write_command(words, command) for words, command in _walk(get_command(hub), "hub")]
    sections.append("## Connectors\n")
    sections.append("`run` and `check` are the same for every agency; a bank's has more.\n")
    sections += [_write_command(words, command) for words, command in _walk_connectors()]
    sections.append("## The oversight body's\n")
    sections.append("They come in a wheel of their own and import nothing of the hub.\n")
    sections += _write_oversight(make_parser())
    return "\n".join(sections)


def _write_oversight(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Write the commands of the tools that know no typer."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        words = f"python -m connectors.oversight {name}"
        usage = " ".join(command.format_usage().removeprefix("usage: ").replace("[-h] ", "").split())
        rows = [
            (f"`{', '.join(action.option_strings) or action.metavar}`", command._get_formatter()._expand_help(action))
            for action in command._actions
            if action.help and "--help" not in action.option_strings
        ]
        example = str(command.epilog).replace("Example: ", "Example: `")
        yield "\n".join(
            (
                f"### `{words}`\n",
                f"```text\n{usage}\n```\n",
                f"{command.description}\n",
                table(("argument", "says"), rows),
                f"{example}`\n",
            )
        )


def _walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, inner in command.commands.items():
        yield from _walk(inner, f"{words} {name}")


def _walk_connectors() -> Iterator[tuple[str, Any]]:
    told: set[str] = set()
    for module, app in CONNECTORS.items():
        for words, command in _walk(get_command(app), f"python -m {module}"):
            name = words.split()[-1]
            if name not in told:
                told.add(name)
                yield (words.replace(module, "connectors.<agency>") if name in ("run", "check") else words), command


def _write_command(words: str, command: Any) -> str:
    parameters = [parameter for parameter in command.params if not parameter.hidden]
    usage = " ".join((words, *(_usage(parameter) for parameter in parameters)))
    text = [f"### `{words}`\n", f"```text\n{usage}\n```\n", f"{_reflow(command.help)}\n"]
    rows = [(f"`{_name(each)}`", _say(each)) for each in parameters if each.help]
    if rows:
        text.append(table(("argument", "says"), rows))
    if command.epilog:
        text.append(f"{command.epilog.replace('Example: ', 'Example: `')}`\n")
    return "\n".join(text)


def _reflow(text: str) -> str:
    """Return help as one paragraph each, with the example as code."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(_mark_example(paragraph) for paragraph in paragraphs)


def _mark_example(paragraph: str) -> str:
    before, found, example = paragraph.partition("Example: ")
    return f"{before}{found}`{example}`" if found else paragraph


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")


def _name(parameter: Any) -> str:
    if _is_argument(parameter):
        return str(parameter.metavar or parameter.name.upper())
    return " ".join((parameter.opts[0], *(() if parameter.is_flag else (_value(parameter),))))


def _value(parameter: Any) -> str:
    return "N" if parameter.type_descriptor.annotation is int else parameter.opts[0].lstrip("-").upper()


def _usage(parameter: Any) -> str:
    return _name(parameter) if parameter.required else f"[{_name(parameter)}]"


def _say(parameter: Any) -> str:
    shown = parameter.default if not _is_argument(parameter) and not parameter.is_flag else None
    return f"{parameter.help}{'' if shown is None else f' Default: `{shown}`.'}"


#: typer's own test that an app is one; the pages are made of nothing else.
assert all(isinstance(app, typer.Typer) for app in (hub, *CONNECTORS.values()))
