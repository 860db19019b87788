"""python -m connectors.oversight: the oversight body's own tools."""

import argparse
import sys
from collections.abc import Callable, Sequence

from connectors.oversight import lookups_command, monitor_command, reckoning_command, verify_command, witness_command
from connectors.oversight.witness_command import WrongUse

WRONG_USE = 2


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m connectors.oversight", description="The oversight body's own tools. They trust no hub."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in (verify_command, monitor_command, reckoning_command, lookups_command, witness_command):
        module.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what is wrong with its use is told in one sentence."""
    parsed = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except WrongUse as error:
        print(error, file=sys.stderr)
        return WRONG_USE


if __name__ == "__main__":
    sys.exit(main())
