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

UNREACHABLE = 3


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a program's."""
    parser = commands.add_parser(
        "monitor",
        help="follow the whole log and alarm",
        description="Follow the log from checkpoint to checkpoint, compute its tree again, look at every entry, "
        "recheck every recommendation from its pack, and alarm. An alarm is told once and kept with its evidence. "
        "Exit codes: 0 stopped, or with --once no alarm; 1 with --once an alarm; 2 wrong use; 3 with --once the log "
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
    parser.add_argument("--counts", type=Path, help="folder with the participants' counts (tkahub-count/1)")
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
        description="Print each alarm with its evidence as a line of JSON. Exit code 1 if there is one.",
        epilog="Example: python -m connectors.oversight alarms --state monitor.sqlite",
    )
    add_state(show)
    show.set_defaults(command=_show_alarms)


def _open_state(file: Path) -> MonitorState:
    try:
        return MonitorState(file)
    except sqlite3.Error as error:
        raise WrongUse(f"{file} cannot be used as a monitor's memory: {error}.") from None


def _monitor(arguments: argparse.Namespace) -> int:
    for folder in (arguments.packs, arguments.counts):
        if folder is not None and not folder.is_dir():
            raise WrongUse(f"{folder} is no folder.")
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
    if arguments.counts is not None:
        shown.read_counts(arguments.counts)
    for alarm in monitor.fresh:
        print(json.dumps(alarm.to_json(), ensure_ascii=False) if arguments.json else write_text(alarm), flush=True)
    return 1 if state.alarms() else code


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
    alarms = state.alarms()
    state.close()
    for alarm in alarms:
        print(json.dumps(alarm.to_json(), ensure_ascii=False))
    return int(bool(alarms))
