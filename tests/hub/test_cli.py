"""The command as an operator runs it: in a process of its own, with the environment as its only settings."""

import asyncio
import hashlib
import io
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed
from typer.testing import CliRunner

from contracts.registry import Registry
from contracts.wire.key import PrivateKey, PublicKey
from hub.cli import app
from hub.commands.terminal import EXIT_CODES
from tests.hub.exchange import Bank
from tests.hub.terminal import PATIENCE_S, REPOSITORY, Answer, Operator, write_first

FULL_HELP = [
    [], ["migrate"], ["run"], ["intake"], ["relay"], ["deadlines"], ["api"], ["fsck"], ["doctor"], ["case", "show"],
    ["reconcile", "show"], ["reconcile", "run"], ["reconcile", "close"],
    ["lost", "list"], ["lost", "acknowledge"],
    ["accounts", "add"], ["accounts", "list"], ["accounts", "disable"],
    ["findings", "list"], ["findings", "show"], ["statistics"],
    ["retention", "plan"], ["retention", "apply"],
    ["register", "list"], ["register", "differences"],
    ["quarantine", "list"], ["quarantine", "show"], ["participants", "list"],
    ["repair", "list"], ["repair", "rehearse"], ["repair", "show"], ["repair", "request"], ["repair", "approve"],
    ["repair", "stop"], ["repair", "watch"], ["repair", "send-back"], ["repair", "look"],
    ["participants", "add"], ["participants", "revoke-key"], ["registry", "propose"], ["registry", "sign"],
    ["registry", "apply"], ["registry", "show"], ["registry", "suspend"], ["root", "new"], ["root", "rotate"],
    ["root", "sign"], ["root", "show"], ["keys", "new"], ["kafka", "apply"], ["vectors", "run"],
]  # fmt: skip


def until(condition: Callable[[], Any]) -> Any:
    """Return what `condition` gives once that is something; a server that is not up yet counts as nothing."""
    nothing = retry_if_result(lambda found: not found) | retry_if_exception_type(httpx.TransportError)
    return Retrying(stop=stop_after_delay(PATIENCE_S), wait=wait_fixed(0.1), retry=nothing)(condition)


@pytest.mark.parametrize("words", FULL_HELP, ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    example = " ".join(shown.output.split()).partition("Example: ")[2]
    assert f"hub {' '.join(words)}".strip() in example


def test_the_exit_codes_are_documented() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400", "TERM": "dumb"})
    assert EXIT_CODES in " ".join(shown.output.split())


def test_a_new_key_is_private_and_never_overwrites(operator: Operator) -> None:
    made = operator.hub("keys", "new", "--out", "bank.pem", "--alg", "ES256")
    file = operator.folder / "bank.pem"
    private, public = PrivateKey.from_pem(file.read_bytes()), PublicKey.from_jwk(made.json)
    assert (private.kid, private.alg) == (public.kid, "ES256")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads((operator.folder / "bank.pem.pub.json").read_text()) == made.json
    again = operator.hub("keys", "new", "--out", "bank.pem")
    assert (again.code, PrivateKey.from_pem(file.read_bytes()).kid) == (2, private.kid)
    assert "exists already" in again.err


def test_from_an_empty_database_to_a_registry(installed: Operator, bank: Bank) -> None:
    listed = installed.hub("participants", "list", "--json").json
    assert [party["id"] for party in listed["participants"]] == ["hub", "bri"]
    assert bank.key.kid in installed.hub("participants", "list").out
    assert installed.hub("kafka", "apply", "--dry-run", "--json").json["steps"] == []
    revoked = installed.change("participants", "revoke-key", bank.key.kid)
    assert (revoked.code, revoked.json["version"], revoked.json["leaves"]) == (0, 2, 2)
    assert revoked.json["signed_by"] == ["budi", "sari"]
    assert "revoked" in installed.hub("participants", "list").out
    again = installed.hub("participants", "revoke-key", bank.key.kid, "--out", "again.json")
    assert (again.code, again.err.strip()) == (2, "This key is revoked already.")
    assert installed.hub("fsck").out.startswith("Everything that was folded again equals")


def test_the_doctor_says_what_does_not_run_and_ends_with_1(installed: Operator) -> None:
    said = installed.hub("doctor", "--days", "1", "--json")
    assert (said.code, said.json["well"]) == (1, False)
    assert {each["check"] for each in said.json["findings"] if each["verdict"] == "wrong"} >= {"processes"}
    in_words = installed.hub("doctor", "--days", "1")
    assert (in_words.code, "hub kafka apply" in in_words.out) == (1, False)
    assert "Nobody does this at the moment" in in_words.out


def test_kafka_is_not_changed_unless_somebody_agrees(installed: Operator, topic_prefix: str) -> None:
    given = {"settings": {"topics": {"from.bri": 1, "from.kpk": 1}}, "participants": []}
    (installed.folder / "more.json").write_text(json.dumps(given))
    assert installed.change("participants", "add", "more.json").code == 0
    step = {"verb": "create", "what": f"topic {topic_prefix}from.kpk with 1 partition"}
    looked = installed.hub("kafka", "apply", "--dry-run", "--json")
    assert (looked.code, looked.json["steps"], looked.json["left"]) == (1, [step], [step])
    asked = installed.hub("kafka", "apply")
    assert (asked.code, "give --yes" in asked.err) == (2, True)
    done = installed.hub("kafka", "apply", "--yes", "--json")
    assert (done.code, done.json["steps"], done.json["left"]) == (0, [step], [])
    assert "Nothing to do" in installed.hub("kafka", "apply", "--dry-run").out
    assert installed.hub("fsck", "--json").json == {"findings": []}
    assert installed.hub("quarantine", "list", "--json").json == []
    assert installed.hub("case", "show", "NONE").code == 1


def test_wrong_settings_are_told_in_one_sentence(operator: Operator) -> None:
    (operator.folder / "no.json").write_text("{")
    nowhere = "postgresql://postgres@127.0.0.1:1/none"
    for code, words, command, settings in (
        (2, "DATABASE_URL", ["fsck"], {"DATABASE_URL": ""}),
        (2, "HUB_API_PORT", ["api"], {"HUB_API_PORT": "99999"}),
        (2, "was never migrated: run `hub migrate`", ["run"], {}),
        (2, "TRUST_ROOT_FILE cannot be used: no such file", ["run"], {"TRUST_ROOT_FILE": "none.json"}),
        (2, "TRUST_ROOT_FILE cannot be used: it does not hold", ["run"], {"TRUST_ROOT_FILE": "no.json"}),
        (3, "database cannot be reached", ["migrate"], {"DATABASE_URL": nowhere}),
        (3, "database cannot be reached", ["api"], {"DATABASE_URL": nowhere}),
    ):
        answer = operator.process(*command, **settings)
        assert (answer.code, words in " ".join(answer.err.split())) == (code, True), answer


def test_wrong_use_is_told_in_one_sentence(operator: Operator) -> None:
    (operator.folder / "open.pem").write_bytes((operator.folder / "root.pem").read_bytes())
    (operator.folder / "open.pem").chmod(0o644)
    (operator.folder / "no.json").write_text("{")
    for words, command in (
        ("was never migrated: run `hub migrate`", ["fsck"]),
        ("--key can be read by others", ["registry", "suspend", "x", "--reason", "y", "--key", "open.pem"]),
        ("no.json cannot be read as JSON", ["participants", "add", "no.json", "--out", "p.json"]),
        ("--alg must be", ["keys", "new", "--out", "x.pem", "--alg", "RS256"]),
        ("No such command", ["dance"]),
        ("cannot be read as vectors", ["vectors", "run", "no.json"]),
    ):
        answer = operator.hub(*command)
        assert (answer.code, words in " ".join(answer.err.split())) == (2, True), answer


def test_errors_of_a_migrated_hub_are_told_in_one_sentence(operator: Operator, bank: Bank) -> None:
    operator.hub("migrate")
    assert "There is no registry yet" in operator.process("run").err
    write_first(operator.folder, bank)
    operator.change("participants", "add", "first.json", "--roots", "roots.json")
    unreachable = operator.process("relay", KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert (unreachable.code, unreachable.err.startswith("Kafka cannot be reached: ")) == (3, True), unreachable
    stranger = operator.process("relay", HUB_KEY_FILE="root.pem")
    assert (stranger.code, "does not list the key in HUB_KEY_FILE" in stranger.err) == (2, True)
    assert "KAFKA_BOOTSTRAP is not set" in operator.process("intake", KAFKA_BOOTSTRAP="").err
    bad = operator.folder / "bad.json"
    bad.write_text(json.dumps({"id": "kpk", "kind": "police"}))
    refused = operator.hub("participants", "add", "bad.json", "--out", "p.json", "--json")
    assert (refused.code, json.loads(refused.err)["exit_code"]) == (2, 2)
    assert "registry_malformed" in refused.err


def test_a_day_is_shown_run_and_run_again(installed: Operator) -> None:
    shown = installed.hub("reconcile", "show", "--day", "2026-03-03", "--json")
    assert shown.code == 0
    assert [report["participant"] for report in shown.json["reports"]] == ["bri"]
    assert shown.json["differences"] == []
    first = installed.hub("reconcile", "run", "--day", "2026-03-03", "--out", "reports", "--json").json[0]
    again = installed.hub("reconcile", "run", "--day", "2026-03-03", "--bank", "bri", "--json").json[0]
    assert (first["revision"], first["published_now"]) == (1, True)
    assert (again["revision"], again["published_now"]) == (1, False)
    written = (installed.folder / "reports" / "2026-03-03-bri.json").read_bytes()
    assert hashlib.sha256(written).hexdigest() == first["sha256"]
    assert "said so before" in installed.hub("reconcile", "run", "--day", "2026-03-03").out
    unknown = installed.hub("reconcile", "close", "820260302000017:0123456789abcdef", "--reason", "Refunded.")
    assert (unknown.code, unknown.out) == (1, "")
    for words in (["--day", "2026-03-07"], ["--day", "yesterday"], ["--day", "2026-03-03", "--bank", "nobody"]):
        assert installed.hub("reconcile", "run", *words).code == 2


async def _lose(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("INSERT INTO watermark VALUES ('id', 0, 'from.bri', 9)")
        await connection.execute("INSERT INTO watermark_interval VALUES ('id', 0, 0, 9, 'lost', now())")
    finally:
        await connection.close()


def test_what_was_lost_is_listed_and_acknowledged(installed: Operator) -> None:
    assert installed.hub("lost", "list").out == "Nothing that was lost waits to be acknowledged.\n"
    asyncio.run(_lose(installed.settings["DATABASE_URL"]))
    assert [(one["name"], one["records"]) for one in installed.hub("lost", "list", "--json").json] == [
        ("from.bri/0/0", 9)
    ]
    assert "from.bri/0/0" in installed.hub("lost", "list").out
    words = ("lost", "acknowledge", "from.bri/0/0", "--reason", "All has come again.", "--actor", "siti")
    assert installed.hub(*words).out == "It is acknowledged.\n"
    again = installed.hub(*words, "--json")
    assert (again.code, again.out) == (1, "")
    assert installed.hub("lost", "list", "--json").json == []
    (kept,) = installed.hub("lost", "list", "--all", "--json").json
    assert (kept["actor"], kept["reason"]) == ("siti", "All has come again.")


def test_who_may_sign_in_is_added_listed_and_disabled(installed: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*words: str, password: str = "four petals of kawung") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        return installed.hub("accounts", "add", *words)

    assert add("siti", "--role", "officer", "--unit", "unit-00001").out == "siti may sign in.\n"
    assert add("budi", "--role", "bank", "--participant", "bri", "--json").json == {"name": "budi", "role": "bank"}
    assert add("siti", "--role", "operator").code == 1
    assert add("dewi", "--role", "operator", password="too short").code == 2
    for words in (["Siti", "--role", "operator"], ["ani", "--role", "officer"], ["ani", "--role", "applicant"]):
        assert add(*words).code == 2
    assert installed.hub("accounts", "disable", "siti").out == "siti may not sign in any more.\n"
    assert installed.hub("accounts", "disable", "siti").code == 1
    listed = installed.hub("accounts", "list", "--json").json
    assert [(one["name"], one["disabled_at"] is None) for one in listed] == [("budi", True), ("siti", False)]
    assert "argon2" not in json.dumps(listed)


def test_vectors_come_out_as_they_say(operator: Operator) -> None:
    file = REPOSITORY / "contracts" / "vectors" / "signature.json"
    answer = operator.hub("vectors", "run", str(file))
    verdicts = [json.loads(line) for line in answer.out.splitlines()]
    expected = [{"name": vector["name"], "verdict": vector["expect"]} for vector in json.loads(file.read_text())]
    assert answer.code == 0
    assert [{"name": found["name"], "verdict": found["verdict"]} for found in verdicts] == expected
    assert all((found["code"] is None) == (found["verdict"] == "accept") for found in verdicts)
    wrong = operator.folder / "wrong.json"
    wrong.write_text(json.dumps([json.loads(file.read_text())[0] | {"expect": "refuse"}]))
    assert operator.hub("vectors", "run", str(wrong)).code == 1


@pytest.fixture
def running(installed: Operator) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """Give `hub run` and the address of its API; the process has ended afterwards."""
    process = installed.start("run")
    try:
        yield process, until(lambda: _find_address(installed.folder / "log"))
    finally:
        process.kill()
        process.wait()


def _find_address(file: Path) -> str | None:
    for line in file.read_text().splitlines():
        event = json.loads(line)
        if event.get("event") == "api.listening":
            return f"http://127.0.0.1:{event['port']}"
    return None


def test_one_process_takes_in_sends_out_and_ends_gently(
    installed: Operator, running: "tuple[subprocess.Popen[str], str]", bank: Bank
) -> None:
    process, address = running
    ready = until(lambda: (found := httpx.get(f"{address}/readyz")).status_code == 200 and found.json())
    assert ready == {"status": "ok", "problems": {}, "notes": {}}
    root = PublicKey.from_jwk(json.loads((installed.folder / "root.pem.pub.json").read_text()))
    assert Registry.read(httpx.get(f"{address}/api/v1/registry").content, root).version == 1
    receipts = asyncio.run(_send_and_hear(installed, bank))
    assert [entry["id"] for entry in receipts["accepted"]] != []
    assert [entry["code"] for entry in receipts["refused"]] == ["data_invalid"]
    assert "hub_relay_messages_total" in httpx.get(f"{address}/metrics").text
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    log = (installed.folder / "log").read_text()
    assert json.loads(log.splitlines()[-1])["event"] == "hub.stopped"
    assert "Traceback" not in log
    (parked,) = installed.hub("quarantine", "list", "--json").json
    shown = installed.hub("quarantine", "show", str(parked["id"]), "--json").json
    assert (shown["code"], shown["fault"]) == ("data_invalid", "sender")
    assert shown["remedy"]
    assert not {"value", "key", "headers"} & shown.keys()
    assert installed.hub("fsck").code == 0


async def _send_and_hear(operator: Operator, bank: Bank) -> dict[str, list[dict[str, Any]]]:
    """Publish one good and one bad payment as the bank, and return what its receipts say."""
    bootstrap, prefix = operator.settings["KAFKA_BOOTSTRAP"], operator.settings["TOPIC_PREFIX"]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for record in (bank.sign(bank.paid()), bank.sign(bank.paid(amount="1.5"))):
            headers = [(name, raw) for name, raw in record.headers if raw is not None]
            await producer.send_and_wait(f"{prefix}from.bri", record.value, record.key, headers=headers)
    consumer = AIOKafkaConsumer(
        f"{prefix}to.bri",
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    heard: dict[str, list[dict[str, Any]]] = {"accepted": [], "refused": []}
    async with asyncio.timeout(PATIENCE_S), consumer:
        while not (heard["accepted"] and heard["refused"]):
            event = json.loads((await consumer.getone()).value)
            if event["type"] == "id.tka.hub.receipt.v1":
                for kind, entries in heard.items():
                    entries += event["data"][kind]
    return heard
