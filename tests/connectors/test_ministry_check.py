"""`check` names what is wrong in plain words, with the fix: each way in, the way out, and the clocks."""

from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from connectors.link.clock import utc_now
from connectors.ministry.check import check_ministry
from connectors.ministry.settings import MinistrySettings
from tests.connectors.mariadb import Mariadb
from tests.connectors.test_ministry_mariadb import MAPPING, TABLES
from tests.connectors.test_ministry_outcomes import SECRET, write_secret

TOKEN = "t" * 32


class Hub:
    """An HTTP server whose clock can be off."""

    def __init__(self) -> None:
        self.url = ""
        self.behind_s = 0.0

    async def registry(self, request: web.Request) -> web.Response:
        date = formatdate(utc_now().timestamp() - self.behind_s, usegmt=True)
        return web.Response(body=b"{}", headers={"Date": date})


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub, app = Hub(), web.Application()
    app.router.add_get("/api/v1/registry", hub.registry)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield hub
    await runner.cleanup()


async def check(folder: Path, hub: Hub, **changes: Any) -> dict[str, tuple[str, str]]:
    """Return what was found, by title."""
    settings = MinistrySettings(
        participant="ministry",
        source_uri="https://ministry.example/tka",
        key_file=folder / "k",
        api_key_file=folder / "a",
        hub_api_url=hub.url,
        kafka_bootstrap="kafka.example:9092",
        trust_root_file=folder / "r",
        spool_dir=folder,
        **changes,
    )
    return {found.title: (found.verdict, found.says) async for found in check_ministry(settings)}


async def test_register_is_well(tmp_path: Path, hub: Hub, register: str) -> None:
    found = await check(tmp_path, hub, register_url=register)
    assert {title: verdict for title, (verdict, _) in found.items()} == {
        "clock": "ok",
        "register": "ok",
        "register's clock": "ok",
    }


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("REVOKE INSERT ON register.outcome FROM", "grant SELECT on register.outbox, SELECT and INSERT on"),
        ("REVOKE SELECT ON register.outbox FROM", "grant SELECT on register.outbox, SELECT and INSERT on"),
        ("GRANT DELETE ON register.outbox TO", "revoke its rights to INSERT, UPDATE and DELETE"),
    ],
)
async def test_rights_of_the_role_are_named(
    tmp_path: Path, hub: Hub, register: str, database: str, statement: str, says: str
) -> None:
    owner = await asyncpg.connect(database)
    role = register.split("//", 1)[1].split(":", 1)[0]
    await owner.execute(f'{statement} "{role}"')
    await owner.close()
    verdict, said = (await check(tmp_path, hub, register_url=register))["register"]
    assert verdict == "wrong"
    assert says in said


@pytest.mark.parametrize(("behind_s", "side"), [(120.0, "ahead of"), (-120.0, "behind")])
async def test_clock_that_is_off_is_told(tmp_path: Path, hub: Hub, behind_s: float, side: str) -> None:
    hub.behind_s = behind_s
    verdict, said = (await check(tmp_path, hub, events_dir=tmp_path))["clock"]
    assert (verdict, side in said, "NTP" in said) == ("wrong", True, True)


async def test_doors_are_looked_at(tmp_path: Path, hub: Hub) -> None:
    folder, token = tmp_path / "in", tmp_path / "token"
    folder.mkdir()
    token.write_text(TOKEN)
    token.chmod(0o644)
    ways = {"events_dir": folder, "events_token_file": token}
    found = await check(tmp_path, hub, **ways)
    assert found["events door"][0] == "settings"
    assert "chmod 600" in found["events door"][1]
    assert found["events folder"][0] == "ok"
    token.chmod(0o600)
    for name in ("a.csv", "b.csv.manifest.json", "c.csv.part"):
        (folder / name).write_text("")
    found = await check(tmp_path, hub, **ways)
    assert found["events door"][0] == "ok"
    assert found["events folder"][0] == "wrong"
    assert "2 files wait in EVENTS_DIR" in found["events folder"][1]


async def test_webhook_is_looked_at(tmp_path: Path, hub: Hub) -> None:
    ways = {"events_dir": tmp_path, "webhook_secret_file": write_secret(tmp_path, SECRET)}
    assert (await check(tmp_path, hub, **ways, webhook_url=f"{hub.url}/hook"))["webhook"][0] == "ok"
    assert (await check(tmp_path, hub, **ways, webhook_url="http://127.0.0.1:1/"))["webhook"][0] == "unreachable"
    write_secret(tmp_path, "x")
    assert (await check(tmp_path, hub, **ways, webhook_url=f"{hub.url}/hook"))["webhook"][0] == "settings"


async def test_settings_that_do_not_fit_together_are_told_first(tmp_path: Path, hub: Hub) -> None:
    assert (await check(tmp_path, hub))["settings"][1].startswith("Facts have no way in")
    found = await check(tmp_path, hub, events_dir=tmp_path, register_mapping_file=tmp_path / "none.toml")
    assert "REGISTER_MAPPING_FILE" in found["settings"][1]


@pytest.mark.needs("mariadb")
async def test_mariadb_that_hides_its_transactions_is_told(tmp_path: Path, hub: Hub, mariadb_server: Mariadb) -> None:
    await mariadb_server.wait_until_ready()
    name = mariadb_server.new_name()
    await mariadb_server.execute(f"CREATE DATABASE {name}", f"USE {name}", *TABLES)
    await mariadb_server.execute(
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'secret'",
        f"GRANT SELECT ON {name}.changes TO {name}@'127.0.0.1'",
        f"GRANT SELECT, INSERT ON {name}.answers TO {name}@'127.0.0.1'",
    )
    (tmp_path / "register.toml").write_text(MAPPING)
    ways = {
        "register_url": mariadb_server.url(name, "secret", name),
        "register_mapping_file": tmp_path / "register.toml",
    }
    verdict, said = (await check(tmp_path, hub, **ways))["register"]
    assert verdict == "ok"
    assert "GRANT PROCESS ON *.*" in said
    await mariadb_server.execute(f"USE {name}", "ALTER TABLE answers ENGINE = MyISAM")
    verdict, said = (await check(tmp_path, hub, **ways))["register"]
    assert verdict == "wrong"
    assert "InnoDB" in said
    await mariadb_server.execute(f"DROP DATABASE {name}", f"DROP USER {name}@'127.0.0.1'")
