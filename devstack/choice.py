"""Which Kafka or PostgreSQL a run uses: the one given, else a Docker engine's, else the embedded one."""

import os
import subprocess
import sys
from enum import StrEnum
from functools import cache

from devstack.processes import StackError

FORCE_VARIABLE = "DEVSTACK"
ENGINE_TIMEOUT_S = 10


class Choice(StrEnum):
    """Where a service comes from, in the order of preference."""

    GIVEN = "given"
    DOCKER = "docker"
    EMBEDDED = "embedded"


def choose(given: str | None) -> Choice:
    """Choose for one service. `given`: its address if the environment names one. Raises StackError."""
    forced = os.environ.get(FORCE_VARIABLE)
    if forced:
        if forced not in (Choice.DOCKER, Choice.EMBEDDED):
            raise StackError(f"{FORCE_VARIABLE} is {forced!r}, but only 'embedded' and 'docker' are known.")
        return Choice(forced)
    if given:
        return Choice.GIVEN
    return Choice.DOCKER if engine_answers() else Choice.EMBEDDED


@cache
def engine_answers() -> bool:
    """Whether a Docker engine answers. A client without an engine is common, so finding the client proves nothing."""
    # In a process of its own: the client leaves its socket open when nobody answers.
    probe = [sys.executable, "-c", "from testcontainers.core.docker_client import *; DockerClient().client.ping()"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=ENGINE_TIMEOUT_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
