"""A bounded sample of `make fuzz`: every seed, what was found before, and some thousands of fresh inputs."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.fuzz.mutation import read_seeds
from tests.fuzz.stretch import RESIDENT_MIB_MAX, fuzz
from tests.fuzz.targets import TARGETS

SAMPLE = 6_000
SAMPLE_S_MAX = 60.0


@pytest.mark.parametrize("name", TARGETS)
def test_a_sample_breaks_no_reader(name: str) -> None:
    outcome = fuzz(name, SAMPLE * TARGETS[name].share // 100, 7, time.time() + SAMPLE_S_MAX)
    assert outcome.found == []
    assert outcome.inputs == SAMPLE * TARGETS[name].share // 100
    # Inputs that are all refused for the same reason test little.
    assert len(outcome.verdicts) > 1


def test_the_limit_of_memory_is_above_an_empty_process() -> None:
    # In a process of its own: this one has run other tests.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        outcome = alone.submit(fuzz, "headers", 1, 1, time.time() + SAMPLE_S_MAX).result(SAMPLE_S_MAX)
    assert outcome.resident_mib < RESIDENT_MIB_MAX


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_number_makes_the_same_inputs(name: str) -> None:
    one, other = TARGETS[name].mutator(3), TARGETS[name].mutator(3)
    assert [one.make() for _ in range(50)] == [other.make() for _ in range(50)]
    assert len(read_seeds(TARGETS[name].suffix)) > 3
