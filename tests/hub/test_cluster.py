"""The hub's certificate for the brokers: the settings that name it."""

from pathlib import Path

import pytest

from devstack.certificates import Authority, Credentials
from hub.cluster import find_cluster
from hub.settings import Settings, SettingsInvalid


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Authority(tmp_path_factory.mktemp("authority")).certify("hub.relay")


def settings_of(credentials: Credentials, **others: object) -> Settings:
    common = {"database_url": "postgresql://x", "kafka_bootstrap": "one.example:9093,two.example:9093"}
    files = {name.lower(): value for name, value in credentials.write_environment().items()}
    return Settings.model_validate(common | files | others)


def test_the_files_become_a_context_that_checks_the_broker(credentials: Credentials) -> None:
    cluster = find_cluster(settings_of(credentials, topic_prefix="demo-"))
    assert cluster.tls is not None
    assert cluster.tls.check_hostname
    assert cluster.options["security_protocol"] == "SSL"
    assert cluster.options["bootstrap_servers"] == ["one.example:9093", "two.example:9093"]
    assert cluster.physical("to.bri") == "demo-to.bri"


def test_without_them_it_is_plain_text() -> None:
    cluster = find_cluster(Settings.model_validate({"database_url": "postgresql://x", "kafka_bootstrap": "x:1"}))
    assert cluster.options == {"bootstrap_servers": ["x:1"]}


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"kafka_bootstrap": ""}, "KAFKA_BOOTSTRAP is not set"),
        ({"kafka_security_protocol": "PLAINTEXT"}, "KAFKA_SECURITY_PROTOCOL is not SSL"),
        ({"kafka_ssl_ca_file": None}, "KAFKA_SSL_CA_FILE is not set"),
        ({"kafka_ssl_certificate_file": None}, "KAFKA_SSL_CERTIFICATE_FILE is not set"),
        ({"kafka_ssl_key_file": None}, "KAFKA_SSL_KEY_FILE is not set"),
        ({"kafka_ssl_key_file": Path("absent.pem")}, "KAFKA_SSL_KEY_FILE cannot be read"),
    ],
)
def test_what_is_missing_or_would_not_be_used_is_named(
    credentials: Credentials, others: dict[str, object], told: str
) -> None:
    with pytest.raises(SettingsInvalid, match=told):
        find_cluster(settings_of(credentials, **others))


def test_a_key_that_others_may_read_and_a_wrong_key_are_refused(credentials: Credentials, tmp_path: Path) -> None:
    open_key, other = tmp_path / "key.pem", Authority(tmp_path).certify("other")
    open_key.write_bytes(credentials.key.read_bytes())
    open_key.chmod(0o644)
    with pytest.raises(SettingsInvalid, match="mode to 0600"):
        find_cluster(settings_of(credentials, kafka_ssl_key_file=open_key))
    with pytest.raises(SettingsInvalid, match="cannot be used"):
        find_cluster(settings_of(credentials, kafka_ssl_key_file=other.key))
