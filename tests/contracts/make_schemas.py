"""Write contracts/schemas/*.json from the models: run it by hand when a contract is added.

    python -m tests.contracts.make_schemas

A schema says what a member may be; SPEC.md says what no schema can: check digits, dates that exist, sums that agree.
"""

import json
from pathlib import Path
from typing import Any

from contracts.events import EVENTS, dataschema_of

FOLDER = Path(__file__).resolve().parents[2] / "contracts" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(event_type: str) -> dict[str, Any]:
    """The JSON Schema of the `data` of one event type."""
    schema = EVENTS[event_type].model_json_schema(by_alias=True)
    return {"$schema": DIALECT, "$id": dataschema_of(event_type), **schema, "title": event_type}


def write_schema(event_type: str) -> bytes:
    """The schema's bytes as published: their SHA-256 names the contract."""
    return (json.dumps(schema_of(event_type), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def main() -> None:
    """Write every schema and remove those of events that are no more."""
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for event_type in EVENTS:
        (FOLDER / f"{event_type}.json").write_bytes(write_schema(event_type))


if __name__ == "__main__":
    main()
