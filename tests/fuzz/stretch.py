"""One stretch of inputs, or all of them in several processes: what broke a reader, and what everything came to."""

import hashlib
import signal
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.fuzz.mutation import SEEDS, read_seeds
from tests.fuzz.targets import TARGETS, Target

INPUT_S_MAX = 2.0
RUN_S_MAX = 480.0
RESIDENT_MIB_MAX = 400
WORKERS = 2
FOUND_MAX = 20


class Hung(BaseException):
    """A reader took longer than INPUT_S_MAX over one input."""


@dataclass
class Outcome:
    """What a stretch of inputs came to."""

    inputs: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    resident_mib: float = 0.0


def fuzz(name: str, inputs: int, number: int, until_s: float) -> Outcome:
    """Give one target so many inputs, the seeds themselves first; stop early at `until_s` of the system's clock."""
    target, outcome = TARGETS[name], Outcome()
    mutator = target.mutator(number)
    before = signal.signal(signal.SIGALRM, _tell_hung)
    try:
        for data in read_seeds(target.suffix):
            _judge(name, target, data, outcome)
        while outcome.inputs < inputs and len(outcome.found) < FOUND_MAX and time.time() < until_s:
            _judge(name, target, mutator.make(), outcome)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    outcome.resident_mib = _read_peak_mib()
    return outcome


def _read_peak_mib() -> float:
    # Not getrusage's figure: that one survives exec, so that a child of a large process begins with its parent's.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def _tell_hung(_: int, __: FrameType | None) -> None:
    raise Hung


def _judge(name: str, target: Target, data: bytes, outcome: Outcome) -> None:
    signal.setitimer(signal.ITIMER_REAL, INPUT_S_MAX)
    try:
        outcome.verdicts[f"{name}: {target.judge(data)}"] += 1
    except (Exception, Hung) as error:  # noqa: BLE001  # Whatever it is, it is what is looked for.
        outcome.found.append(f"{_keep(target, data)}: {type(error).__name__}: {error}")
    outcome.inputs += 1


def _keep(target: Target, data: bytes) -> str:
    file = SEEDS / f"found-{hashlib.sha256(data).hexdigest()[:16]}.{target.suffix}"
    file.write_bytes(data)
    return file.name


def fuzz_all(inputs: int, number: int) -> Outcome:
    """Give every target its share, in WORKERS processes; return everything together."""
    until_s = time.time() + RUN_S_MAX
    whole = Outcome()
    with ProcessPoolExecutor(WORKERS, max_tasks_per_child=1) as pool:
        running = [
            pool.submit(fuzz, name, -(-inputs * target.share // (100 * WORKERS)), number * WORKERS + worker, until_s)
            for worker in range(WORKERS)
            for name, target in TARGETS.items()
        ]
        for one in (each.result() for each in running):
            whole.inputs += one.inputs
            whole.verdicts += one.verdicts
            whole.found += one.found
            whole.resident_mib = max(whole.resident_mib, one.resident_mib)
    return whole
