"""monitor: follow a log and alarm; alarms: show what was kept."""

import argparse
import json
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from connectors.oversight.alarm import Alarm
from connectors.oversight.log_source import LogSource, Unreachable
from connectors.oversight.memory import add_state
from connectors.oversight.monitor import Monitor
from connectors.oversight.monitor_state import MonitorState
from connectors.oversight.shown import Shown
from connectors.oversight.trust_options import add_trust, read_rule_sets, read_trust
from connectors.oversight.witness_command import WrongUse
from connectors.oversight.witness_door import utc_now
from contracts.audit.verify import Trust
from contracts.wire.instant import write_instant

UNREACHABLE = 3


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a program's."""
    parser = commands.add_parser(
        "monitor",
        help="follow the whole log and alarm",
        description="Follow the log from checkpoint to checkpoint, compute its tree again, look at every entry, "
        "recheck every recommendation from its pack, and alarm. An alarm is told once and kept with its evidence. "
        "Exit codes: 0 stopped, or with --once no alarm that waits to be acknowledged; 1 with --once such an alarm; "
        "2 wrong use; 3 with --once the log "
        "cannot be read.",
        epilog="Example: python -m connectors.oversight monitor https://hub.example --root root.jwk.json "
        "--log-key log.vkey --witness-key witness.vkey --state monitor.sqlite --packs packs",
    )
    parser.add_argument("log", metavar="LOG", help="the log's address, or the folder that it is published to")
    add_trust(parser)
    add_state(parser)
    parser.add_argument(
        "--predecessor",
        type=Path,
        help="memory of the log that this one took over from, to compare and to show the gap",
    )
    parser.add_argument("--packs", type=Path, help="folder with packs of `hub audit export --all`, as they come")
    parser.add_argument("--once", action="store_true", help="look once and end, for a timer of your own")
    parser.add_argument("--every-s", type=float, default=10, help="seconds between two looks (default: %(default)s)")
    parser.add_argument(
        "--pack-within-s", type=int, default=86_400, help="when a pack must have come (default: %(default)s)"
    )
    parser.add_argument(
        "--witness-grace-s", type=int, default=3_600, help="how long no witness may be missed (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print each alarm as one JSON object a line")
    parser.set_defaults(command=_monitor)
    show = commands.add_parser(
        "alarms",
        help="print the alarms that a monitor has kept, with their evidence",
        description="Print each alarm with its evidence as a line of JSON, and acknowledge one that was looked into. "
        "Exit codes: 0 nothing waits, 1 an alarm waits to be acknowledged, or none of this number does.",
        epilog="Example: python -m connectors.oversight alarms acknowledge 3 --by Sari "
        '--reason "Asked the bank on Monday" --state monitor.sqlite',
    )
    add_state(show)
    show.set_defaults(command=_show_alarms)
    show.add_argument(
        "action", nargs="?", choices=("acknowledge",), help="say that an alarm was looked into; it is kept for ever"
    )
    show.add_argument("number", nargs="?", type=int, help="the alarm's number, as it is printed")
    show.add_argument("--by", help="with acknowledge: who looked into it")
    show.add_argument("--reason", help="with acknowledge: what was found. No personal data.")


def _open_state(file: Path) -> MonitorState:
    try:
        return MonitorState(file)
    except sqlite3.Error as error:
        raise WrongUse(f"{file} cannot be used as a monitor's memory: {error}.") from None


def _monitor(arguments: argparse.Namespace) -> int:
    if arguments.packs is not None and not arguments.packs.is_dir():
        raise WrongUse(f"{arguments.packs} is no folder.")
    state = _open_state(arguments.state)
    before = None
    if arguments.predecessor is not None:
        if not arguments.predecessor.exists():
            raise WrongUse(f"{arguments.predecessor} does not exist.")
        before = _open_state(arguments.predecessor)
    stop = threading.Event()
    if not arguments.once:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    try:
        while True:
            code = _look(arguments, state, before)
            if arguments.once:
                return code
            if stop.wait(arguments.every_s):
                return 0
    finally:
        state.close()
        if before is not None:
            before.close()


def _check_memory(state: MonitorState, trust: Trust) -> None:
    """Refuse to hold one log against the memory of another, which would look like a fork. Raises WrongUse."""
    origin = state.followed().note.partition("\n")[0]
    if origin not in ("", trust.policy.origin):
        raise WrongUse(
            f"This memory is of {origin}. Follow {trust.policy.origin} with a --state of its own; if it took over from "
            "that log, give this memory as --predecessor."
        )


def _look(arguments: argparse.Namespace, state: MonitorState, before: MonitorState | None) -> int:
    """Look once, tell what is new, and return the exit code that says how the log stands."""
    now = utc_now()
    trust = read_trust(arguments, now)
    _check_memory(state, trust)
    monitor = Monitor(LogSource(arguments.log), state, trust, read_rule_sets(), now, before)
    code = 0
    try:
        read = monitor.follow(arguments.witness_grace_s)
        _tell(f"{now:%Y-%m-%dT%H:%M:%SZ} {state.followed().size} entries followed, {read} new.")
    except Unreachable as error:
        _tell(str(error))
        code = UNREACHABLE
    shown = Shown(monitor)
    if arguments.packs is not None:
        # Nothing new can be missing unless something new was shown.
        if shown.read_packs(arguments.packs):
            shown.keep_tops()
            shown.watch_completeness()
        shown.watch_sequences()
        shown.watch_deadlines(arguments.pack_within_s)
    shown.watch_counts()
    for alarm in monitor.fresh:
        print(json.dumps(alarm.to_json(), ensure_ascii=False) if arguments.json else write_text(alarm), flush=True)
    return 1 if state.count_unacknowledged() else code


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def write_text(alarm: Alarm) -> str:
    """Write an alarm for people, in both languages."""
    about = f"{alarm.subject} ({alarm.detail})" if alarm.detail else alarm.subject
    return f"ALARM [{alarm.code}] {about}\n    {alarm.words.en}\n    {alarm.words.id}"


def _show_alarms(arguments: argparse.Namespace) -> int:
    if not arguments.state.exists():
        raise WrongUse(f"{arguments.state} does not exist.")
    state = _open_state(arguments.state)
    try:
        if arguments.action is not None:
            return _acknowledge(arguments, state)
        for kept in state.kept_alarms():
            print(json.dumps(kept.to_json(), ensure_ascii=False))
        return int(state.count_unacknowledged() > 0)
    finally:
        state.close()


def _acknowledge(arguments: argparse.Namespace, state: MonitorState) -> int:
    """Note who looked into an alarm and why it is over; nothing of it is ever changed or deleted."""
    if arguments.number is None or not arguments.by or not arguments.reason:
        raise WrongUse("Say which alarm, and with --by and --reason who looked into it and what was found.")
    if not state.acknowledge(arguments.number, write_instant(utc_now()), arguments.by, arguments.reason):
        _tell(f"No alarm {arguments.number} waits to be acknowledged.")
        return 1
    print(f"Alarm {arguments.number} is acknowledged.")
    return 0
