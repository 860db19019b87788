"""The same stack in containers, wherever a Docker engine answers."""

import pytest

from devstack.choice import Choice
from devstack.stack import start_stack


@pytest.mark.needs("docker engine")
def test_stack_runs_in_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVSTACK", "docker")
    with start_stack() as stack:
        assert (stack.kafka.choice, stack.postgres.choice) == (Choice.DOCKER, Choice.DOCKER)
        stack.kafka.create_topics({f"{stack.kafka.prefix}letters": 1})
        stack.postgres.assert_durable()
        stack.postgres.drop_database(stack.postgres.create_database())
