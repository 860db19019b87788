"""What several tests of commands share: an operator with keys, and with a registry that persons signed."""

import json
from pathlib import Path

import pytest

from tests.hub.exchange import Bank
from tests.hub.terminal import PEOPLE, Operator, make_person, write_first


@pytest.fixture
def operator(
    tmp_path: Path,
    database: str,
    kafka: str,
    topic_prefix: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Operator:
    """Give an operator with a root key, a hub key, and an empty database."""
    settings = {
        "DATABASE_URL": database,
        "KAFKA_BOOTSTRAP": kafka,
        "TOPIC_PREFIX": topic_prefix,
        "TRUST_ROOT_FILE": "root.pem.pub.json",
        "HUB_KEY_FILE": "hub.pem",
        "HUB_API_PORT": "0",
        "HUB_API_URL": "https://hub.example",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    operator = Operator(tmp_path, settings, capsys)
    operator.hub("keys", "new", "--out", "root.pem")
    operator.hub("keys", "new", "--out", "hub.pem", "--alg", "ES256")
    persons = [{"id": name, "may_suspend": name != "wayan", "keys": [make_person(operator, name)]} for name in PEOPLE]
    (tmp_path / "persons.json").write_text(json.dumps({"environment": "demo", "persons": persons}))
    assert operator.hub("root", "new", "persons.json", "--key", "root.pem", "--out", "roots.json").code == 0
    return operator


@pytest.fixture
def bank() -> Bank:
    """Give a bank that signs."""
    return Bank("bri")


@pytest.fixture
def registered(operator: Operator, bank: Bank) -> Operator:
    """Give an operator whose database is migrated and has a registry, which two of three persons signed."""
    write_first(operator.folder, bank)
    assert operator.hub("migrate").code == 0
    assert operator.change("participants", "add", "first.json", "--roots", "roots.json").code == 0
    return operator


@pytest.fixture
def installed(registered: Operator, kafka: str) -> Operator:
    """Give the same with topics."""
    assert registered.hub("kafka", "apply", "--yes").code == 0
    return registered
