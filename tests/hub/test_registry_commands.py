"""The registry is changed by two persons, with commands alone: proposed, shown, signed offline, applied, or refused."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.errors import Code, RegistryError
from contracts.wire.key import PrivateKey
from hub import trust
from hub.store.database import Database
from tests.hub.exchange import Bank
from tests.hub.terminal import Operator, make_person


def _kid(person: Operator, name: str) -> str:
    return str(json.loads((person.folder / f"{name}.pem.pub.json").read_text())["kid"])


def test_one_person_changes_nothing_and_two_do(registered: Operator, bank: Bank) -> None:
    proposed = registered.hub("registry", "propose", "--revoke", bank.key.kid, "--out", "p.json")
    assert f"REVOKES key {bank.key.kid} of bri (message, Ed25519)" in " ".join(proposed.out.split())
    nobody = registered.hub("registry", "apply", "p.json", "--json")
    assert (nobody.code, "act_malformed" in nobody.err or "registry_malformed" in nobody.err) == (2, True)
    for _ in range(2):
        signed = registered.hub("registry", "sign", "p.json", "--key", "sari.pem", "--yes", "--json")
        assert signed.json["signed_by"] == ["sari"]
        alone = registered.hub("registry", "apply", "p.json", "--json")
        assert (alone.code, "persons_too_few" in alone.err) == (2, True)
    assert registered.hub("registry", "show", "--json").json["version"] == 1
    assert registered.hub("registry", "sign", "p.json", "--key", "wayan.pem", "--yes").code == 0
    applied = registered.hub("registry", "apply", "p.json")
    assert "Registry version 2, signed by sari and wayan, is in force" in applied.out
    shown = registered.hub("registry", "show").out
    assert "Signed by sari, wayan; 2 persons must." in shown
    assert "budi (budi, may suspend)" in shown


def test_a_proposal_against_an_older_version_is_outdated(registered: Operator) -> None:
    for name in ("kpk", "bkpm"):
        (registered.folder / f"{name}.json").write_text(json.dumps({"id": name, "kind": "oversight"}))
        assert registered.hub("registry", "propose", f"{name}.json", "--out", f"p-{name}.json").code == 0
        for person in ("sari", "budi"):
            assert registered.hub("registry", "sign", f"p-{name}.json", "--key", f"{person}.pem", "--yes").code == 0
    assert registered.hub("registry", "apply", "p-kpk.json").code == 0
    late = registered.hub("registry", "apply", "p-bkpm.json", "--json")
    assert (late.code, "proposal_outdated" in late.err) == (2, True)
    again = registered.hub("registry", "apply", "p-kpk.json", "--json")
    assert (again.code, "proposal_outdated" in again.err) == (2, True)


def test_who_is_not_listed_cannot_sign_and_signing_needs_no_database(
    registered: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registered.hub("registry", "propose", "--out", "p.json").code == 0
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("KAFKA_BOOTSTRAP")
    for key in ("root.pem", "hub.pem"):
        refused = registered.hub("registry", "sign", "p.json", "--key", key, "--yes", "--json")
        assert (refused.code, "person_unknown" in refused.err) == (2, True)
    assert registered.hub("registry", "sign", "p.json", "--key", "sari.pem", "--yes").code == 0


def test_a_signer_is_shown_what_the_file_does_whatever_it_says_of_itself(registered: Operator) -> None:
    """A base that was changed by hand does not verify, so that nobody is shown another change than he signs."""
    registered.hub("registry", "propose", "--out", "p.json")
    said = json.loads((registered.folder / "p.json").read_text())
    base = json.loads(said["base"])
    base["payload"] = said["payload"]
    (registered.folder / "p.json").write_text(json.dumps(said | {"base": json.dumps(base)}))
    refused = registered.hub("registry", "sign", "p.json", "--key", "sari.pem", "--yes", "--json")
    assert (refused.code, "registry_signature_invalid" in refused.err) == (2, True)


def test_one_person_suspends_at_once_and_two_lift(registered: Operator, bank: Bank) -> None:
    kid = bank.key.kid
    stopped = registered.hub("registry", "suspend", kid, "--key", "sari.pem", "--reason", "Laptop stolen", "--json")
    assert (stopped.code, stopped.json["person"]) == (0, "sari")
    assert f"key {kid} (Laptop stolen)" in registered.hub("registry", "show").out
    assert "suspended" in registered.hub("participants", "list").out
    for key, code in (
        ("budi.pem", "suspension_needless"),
        ("wayan.pem", "person_may_not"),
        ("hub.pem", "person_unknown"),
    ):
        again = registered.hub("registry", "suspend", kid, "--key", key, "--reason", "Again", "--json")
        assert (again.code, code in again.err) == (2, True), again
    hub_key = registered.hub(
        "registry", "suspend", _kid(registered, "hub"), "--key", "sari.pem", "--reason", "x", "--json"
    )
    assert (hub_key.code, "suspension_needless" in hub_key.err) == (2, True)
    assert registered.hub("fsck", "--json").json == {"findings": []}
    lifted = registered.change("registry", "propose", "--lift", kid)
    assert (lifted.code, lifted.json["leaves"]) == (0, 2)
    assert registered.hub("registry", "show", "--json").json["suspended"] == []
    assert registered.hub("registry", "propose", "--lift", kid, "--out", "no.json").code == 2
    assert registered.hub("fsck", "--json").json == {"findings": []}


def test_the_root_rotates_and_the_old_pin_still_follows(registered: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    registered.hub("keys", "new", "--out", "next.pem")
    persons = json.loads((registered.folder / "persons.json").read_text())
    persons["persons"][2] = {"id": "dewi", "may_suspend": True, "keys": [make_person(registered, "dewi")]}
    (registered.folder / "persons-2.json").write_text(json.dumps(persons))
    words = ("roots.json", "--persons", "persons-2.json", "--root", "next.pem.pub.json", "--out", "roots-2.json")
    assert "must sign too" in registered.hub("root", "rotate", *words, "--key", "root.pem").out
    early = registered.hub("registry", "propose", "--roots", "roots-2.json", "--out", "early.json", "--json")
    assert (early.code, "root_chain_broken" in early.err) == (2, True)
    assert registered.hub("root", "sign", "roots-2.json", "--key", "next.pem").code == 0
    shown = registered.hub("root", "show", "roots-2.json", "--root", "next.pem.pub.json", "--json").json
    assert (shown["version"], shown["root_kid"]) == (2, _kid(registered, "next"))
    rotated = registered.change("registry", "propose", "--roots", "roots-2.json", persons=("sari", "dewi"))
    assert (rotated.code, rotated.json["leaves"]) == (0, 2)
    for pin in ("root.pem.pub.json", "next.pem.pub.json"):
        monkeypatch.setenv("TRUST_ROOT_FILE", pin)
        assert registered.hub("registry", "show", "--json").json["root"]["version"] == 2
    gone = registered.change("registry", "propose", persons=("sari", "wayan"))
    assert (gone.code, "person_unknown" in gone.err) == (2, True)
    back = registered.hub("registry", "propose", "--roots", "roots.json", "--out", "back.json", "--json")
    assert (back.code, "root_not_pinned" in back.err) == (2, True)
    monkeypatch.setenv("TRUST_ROOT_FILE", "root.pem.pub.json")
    back = registered.hub("registry", "propose", "--roots", "roots.json", "--out", "back.json", "--json")
    assert (back.code, "root_rollback" in back.err) == (2, True)


async def _alter(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        pytest.param(
            ["INSERT INTO registry SELECT 2, document, 99, now() FROM registry"],
            Code.REGISTRY_ROLLBACK, id="an older document as a newer version",
        ),
        pytest.param(
            ["INSERT INTO registry SELECT 2, document, 99, now() FROM registry", "UPDATE log SET registry_version = 2"],
            Code.REGISTRY_ROLLBACK, id="and the log's count with it",
        ),
        pytest.param(
            ["INSERT INTO registry SELECT 2, replace(document, 'signatures', 'signature'), 99, now() FROM registry",
             "UPDATE log SET registry_version = 2"],
            Code.ACT_MALFORMED, id="a document that nobody signed",
        ),
        pytest.param(
            ["ALTER TABLE registry DISABLE TRIGGER USER", "DELETE FROM registry",
             "INSERT INTO registry SELECT 1, '{\"payload\":\"e30\",\"signatures\":[],\"roots\":[]}', 0, now()"],
            Code.ROOT_MALFORMED, id="in the place of the one in force",
        ),
        pytest.param(
            ["INSERT INTO suspensions VALUES ('x', '{}', 98, now())", "UPDATE log SET suspensions = 1"],
            Code.ACT_MALFORMED, id="a suspension that nobody signed",
        ),
        pytest.param(["UPDATE log SET suspensions = 1"], Code.REGISTRY_ROLLBACK, id="a suspension taken away"),
    ],
)  # fmt: skip
@pytest.mark.anyio
async def test_what_is_written_into_the_database_by_hand_is_refused(
    registered: Operator, statements: list[str], code: Code
) -> None:
    dsn = registered.settings["DATABASE_URL"]
    await _alter(dsn, *statements)
    root = trust.read_root(Path("root.pem.pub.json"))
    opened = await Database.open(dsn, size=1)
    try:
        async with opened.connection() as connection:
            with pytest.raises(RegistryError) as refused:
                await trust.load(connection, root)
    finally:
        await opened.close()
    assert refused.value.code is code


def test_rows_of_the_registry_are_not_changed_in_place(registered: Operator) -> None:
    for statement in ("UPDATE registry SET version = 2", "DELETE FROM registry", "TRUNCATE registry"):
        with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
            asyncio.run(_alter(registered.settings["DATABASE_URL"], statement))


def test_a_file_that_is_no_proposal_or_chain_is_refused(registered: Operator) -> None:
    files: dict[str, Any] = {"a.json": {}, "b.json": {"format": "tkahub-proposal/1"}, "c.json": []}
    for name, content in files.items():
        (registered.folder / name).write_text(json.dumps(content))
        assert registered.hub("registry", "apply", name).code == 2
        assert registered.hub("registry", "sign", name, "--key", "sari.pem", "--yes").code == 2
    assert registered.hub("root", "rotate", "a.json", "--key", "root.pem", "--out", "x.json").code == 2
    assert registered.hub("root", "sign", "c.json", "--key", "root.pem").code == 2
    assert registered.hub("root", "new", "c.json", "--key", "root.pem", "--out", "x.json").code == 2
    other = PrivateKey.generate("Ed25519")
    (registered.folder / "other.pub.json").write_text(json.dumps(other.public.jwk))
    assert registered.hub("root", "show", "roots.json", "--root", "other.pub.json").code == 2
