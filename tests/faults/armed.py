"""Start a command of ours so that a test can end or freeze it at a kill point, or take one protection away.

Usage: `python -m tests.faults.armed MODULE [ARGUMENT...]` runs MODULE as `python -m` would.
FAULT_ORDER=file: while the file exists, it names a point, a count and a signal (`write_order`); the process sends
    itself that signal at the so-many-th passing of the point, and removes the file just before. A restarted process
    therefore runs on, and one that was frozen is not frozen again.
FAULT_REPLACE=package.module:attribute=tests.faults.replacements:function, comma-separated: replaced before the start.
Only this module arms anything, and it is in no wheel.
"""

import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import connectors.link.failpoint
import hub.failpoint

POINTS = (*hub.failpoint.POINTS, *connectors.link.failpoint.POINTS)


def write_order(file: Path, point: str, hit: int, number: signal.Signals) -> None:
    """Order the process that watches `file` to signal itself at the `hit`-th passing of `point` from now on."""
    if point not in POINTS:
        raise LookupError(f"there is no kill point named {point}")
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"point": point, "hit": hit, "signal": int(number)}))
    part.replace(file)


def striker(file: Path) -> Callable[[str], None]:
    """Return a callback that carries out the orders in `file`."""
    passed: dict[str, int] = {}

    def strike(name: str) -> None:
        try:
            text = file.read_text()
        except FileNotFoundError:
            passed.clear()
            return
        order = json.loads(text)
        if name != order["point"]:
            return
        passed[text] = passed.get(text, 0) + 1
        if passed[text] == order["hit"]:
            file.unlink()
            os.kill(os.getpid(), order["signal"])

    return strike


def replace(rule: str) -> None:
    """Put another function or value in the place of one attribute, `module:dotted.attribute=module:attribute`."""
    target, source = rule.split("=", 1)
    module_name, path = target.split(":")
    *owners, attribute = path.split(".")
    owner: object = importlib.import_module(module_name)
    for name in owners:
        owner = getattr(owner, name)
    if not hasattr(owner, attribute):
        raise LookupError(f"there is no {target} to replace")
    source_module, source_name = source.split(":")
    setattr(owner, attribute, getattr(importlib.import_module(source_module), source_name))


def main() -> None:
    order = os.environ.get("FAULT_ORDER")
    if order:
        strike = striker(Path(order))
        hub.failpoint.arm(strike)
        connectors.link.failpoint.arm(strike)
    for rule in filter(None, os.environ.get("FAULT_REPLACE", "").split(",")):
        replace(rule)
    module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
