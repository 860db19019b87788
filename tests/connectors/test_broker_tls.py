"""A connector's certificate for the brokers: the settings that name it, and what `check` says of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from connectors.link.broker import Broker, read_certificate
from connectors.link.check import check_certificate
from connectors.link.fault import SettingsFault
from connectors.link.settings import ConnectorSettings
from devstack.certificates import Authority, Credentials


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Authority(tmp_path_factory.mktemp("authority")).certify("bri")


def settings_with(**others: object) -> ConnectorSettings:
    nowhere = Path("nowhere")
    common = {"participant": "bri", "source_uri": "https://bri.example/tka", "hub_api_url": "http://hub.example"}
    files = dict.fromkeys(("key_file", "api_key_file", "trust_root_file", "spool_dir"), nowhere)
    return ConnectorSettings.model_validate(common | files | {"kafka_bootstrap": "kafka.example:9093"} | others)


def settings_of(credentials: Credentials, **others: object) -> ConnectorSettings:
    return settings_with(**{name.lower(): value for name, value in credentials.write_environment().items()} | others)


def test_the_files_become_a_context_that_checks_the_broker(credentials: Credentials) -> None:
    tls = Broker.of(settings_of(credentials), "test").tls
    assert tls is not None
    assert tls.check_hostname
    assert Broker.of(settings_with(), "test").tls is None


def test_a_certificate_that_would_not_be_used_is_told(credentials: Credentials) -> None:
    with pytest.raises(SettingsFault, match="KAFKA_SECURITY_PROTOCOL is not SSL"):
        Broker.of(settings_of(credentials, kafka_security_protocol="PLAINTEXT"), "test")


@pytest.mark.parametrize("missing", ["ca", "certificate", "key"])
def test_each_file_is_needed(credentials: Credentials, missing: str) -> None:
    with pytest.raises(SettingsFault, match=f"KAFKA_SSL_{missing.upper()}_FILE is not set"):
        Broker.of(settings_of(credentials, **{f"kafka_ssl_{missing}_file": None}), "test")


def test_a_key_that_others_may_read_is_refused(credentials: Credentials, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(credentials.key.read_bytes())
    key.chmod(0o640)
    with pytest.raises(SettingsFault, match="mode to 0600"):
        Broker.of(settings_of(credentials, kafka_ssl_key_file=key), "test")


def test_files_that_cannot_be_used_are_told(credentials: Credentials, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch(mode=0o600)
    with pytest.raises(SettingsFault, match="KAFKA_SSL_"):
        Broker.of(settings_of(credentials, kafka_ssl_certificate_file=empty), "test")
    with pytest.raises(SettingsFault, match="KAFKA_SSL_"):
        Broker.of(settings_of(credentials, kafka_ssl_ca_file=tmp_path / "absent.pem"), "test")
    with pytest.raises(SettingsFault, match="KAFKA_SSL_CERTIFICATE_FILE"):
        read_certificate(settings_of(credentials, kafka_ssl_certificate_file=empty))


def test_check_says_whose_certificate_it_is_and_how_long_it_lasts(credentials: Credentials) -> None:
    certificate, now = read_certificate(settings_of(credentials)), datetime.now(UTC)
    assert isinstance(certificate, x509.Certificate)
    assert check_certificate(certificate, "bri", now).verdict == "ok"
    assert "made out to bri" in check_certificate(certificate, "mandiri", now).says
    late = check_certificate(certificate, "bri", now + timedelta(days=80))
    assert (late.verdict, "ends on" in late.says) == ("wrong", True)
