"""Fuzz the readers of a bank's words: no crash, no hang, bounded memory.

    python -m tests.fuzz [--inputs 1000000] [--number 1]

Every input is made from a seed in tests/fuzz/seeds. One that breaks a reader is kept there as `found-*`, so that every
later run, and the sample in the tests, begins with it.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.fuzz.stretch import RESIDENT_MIB_MAX, RUN_S_MAX, WORKERS, fuzz_all

INPUTS_DEFAULT = 1_000_000


def main(arguments: Sequence[str]) -> int:
    """Fuzz; exit 1 if an input broke a reader, if memory grew, or if there was no time for all inputs."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz SNAP's and camt.054's readers.")
    parser.add_argument("--inputs", type=int, default=INPUTS_DEFAULT, help="how many inputs in all")
    parser.add_argument("--number", type=int, default=1, help="another number makes other inputs")
    given = parser.parse_args(arguments)
    print(f"Fuzzing with {given.inputs:,} inputs in {WORKERS} processes, for {RUN_S_MAX:.0f} s at most ...", flush=True)
    began = time.time()
    whole = fuzz_all(given.inputs, given.number)
    for verdict, count in sorted(whole.verdicts.items()):
        print(f"{count:>9,}  {verdict}")
    print(f"{whole.inputs:,} inputs in {time.time() - began:.0f} s, at most {whole.resident_mib:.0f} MiB a process")
    for found in whole.found:
        print(f"FOUND {found}")
    if whole.inputs < given.inputs:
        print(f"Ended before {given.inputs:,} inputs: the time was up, or too much was found.")
    wrong = whole.found or whole.resident_mib > RESIDENT_MIB_MAX or whole.inputs < given.inputs
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
