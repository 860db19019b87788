"""The published JSON Schemas: current, valid, and of one mind with the models."""

import json
from copy import deepcopy
from typing import Any

import jsonschema
import pytest

from contracts.errors import Refusal
from contracts.events import EVENTS, dataschema_of, read_event
from tests.contracts.make_schemas import FOLDER, write_schema
from tests.contracts.samples import SAMPLES


def published(event_type: str) -> dict[str, Any]:
    """The schema as it is in the repository."""
    schema: dict[str, Any] = json.loads((FOLDER / f"{event_type}.json").read_bytes())
    return schema


def test_there_is_one_for_every_event() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EVENTS)


@pytest.mark.parametrize("event_type", SAMPLES)
def test_current(event_type: str) -> None:
    assert (FOLDER / f"{event_type}.json").read_bytes() == write_schema(event_type)


@pytest.mark.parametrize("event_type", SAMPLES)
def test_valid(event_type: str) -> None:
    schema = published(event_type)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == dataschema_of(event_type)
    jsonschema.validate(SAMPLES[event_type], schema)


@pytest.mark.parametrize("event_type", SAMPLES)
def test_what_the_schema_refuses_is_refused(event_type: str) -> None:
    """Each member in turn becomes something else: whatever the schema refuses, the model refuses too."""
    validator = jsonschema.Draft202012Validator(published(event_type))
    for member in SAMPLES[event_type]:
        wrongs: list[Any] = [None, 7, "", "\n", [], {}, "x" * 2000]
        for wrong in wrongs:
            data = deepcopy(SAMPLES[event_type]) | {member: wrong}
            if not validator.is_valid(data):
                with pytest.raises(Refusal):
                    read_event(event_type, data)
