"""Start a command of ours with one kill point armed, or with one protection replaced.

Usage: `python -m tests.faults.armed MODULE [ARGUMENT...]` runs MODULE as `python -m` would.
FAULT_POINT=name, FAULT_HIT=n: the process kills itself with SIGKILL at the n-th passing of that point.
FAULT_REPLACE=package.module:attribute=tests.faults.replacements:function, comma-separated: replaced before the start.
Only this module arms anything, and it is in no wheel.
"""

import importlib
import os
import runpy
import signal
import sys
from collections.abc import Callable

import connectors.link.failpoint
import hub.failpoint


def killer(point: str, hit: int) -> Callable[[str], None]:
    """Return a callback that ends this process, without any clean-up, at the `hit`-th passing of `point`."""
    passed = 0

    def strike(name: str) -> None:
        nonlocal passed
        if name == point:
            passed += 1
            if passed == hit:
                os.kill(os.getpid(), signal.SIGKILL)

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
    point = os.environ.get("FAULT_POINT")
    if point:
        if point not in (*hub.failpoint.POINTS, *connectors.link.failpoint.POINTS):
            raise LookupError(f"there is no kill point named {point}")
        strike = killer(point, int(os.environ.get("FAULT_HIT", "1")))
        hub.failpoint.arm(strike)
        connectors.link.failpoint.arm(strike)
    for rule in filter(None, os.environ.get("FAULT_REPLACE", "").split(",")):
        replace(rule)
    module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
