"""The running processes log in to the database as those whom their rights were made for."""

from urllib.parse import urlsplit

from tests.faults.exchange import Exchange

LIST_USERS = """
    SELECT DISTINCT usename::text FROM pg_stat_activity
    WHERE datname = $1 AND application_name LIKE 'hub%' AND usename <> $2"""


def test_each_process_is_somebody_of_its_own(exchange: Exchange) -> None:
    services, postgres = exchange.rig.cast.services, exchange.rig.postgres
    owner = urlsplit(services.database_url)
    users = postgres.fetch_values(LIST_USERS, owner.path.removeprefix("/"), owner.username)
    parts = ("intake", "relay", "deadlines", "sequencer", "api")
    assert sorted(users) == sorted(str(urlsplit(services.logins[part]).username) for part in parts)
