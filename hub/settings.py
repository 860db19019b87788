"""The hub's settings. This is the only module of the hub that reads the environment."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsInvalid(Exception):
    """The environment lacks a setting, or holds one that cannot be used; the message names each in one sentence."""


def _check_address(url: str) -> str:
    """Return a database's address that can be read; whoever stumbles over another one would repeat it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("postgresql", "postgres") and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        # Without the text, which holds a password.
        raise PydanticCustomError("database_url", "it must be postgresql://user:password@host:port/name")
    return url


class Settings(BaseSettings):
    """What an operator may set, by environment variables of the same names in upper case. Secrets are file paths."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: Annotated[str, AfterValidator(_check_address)] = Field(
        min_length=1, description="The hub's PostgreSQL database, as postgresql://user:password@host:port/name."
    )
    kafka_bootstrap: str = Field(
        default="", description="The brokers, as host:port, separated by commas. Intake and relay need it."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL"] = Field(
        default="PLAINTEXT", description="`SSL` in service: both sides show a certificate. `PLAINTEXT` is for trials."
    )
    kafka_ssl_ca_file: Path | None = Field(
        default=None, description="The certificates (PEM) of the authorities that sign for the brokers."
    )
    kafka_ssl_certificate_file: Path | None = Field(
        default=None,
        description="This process's certificate (PEM). Its common name is what Kafka's rights are granted to.",
    )
    kafka_ssl_key_file: Path | None = Field(
        default=None, description="The private key of that certificate (PEM, mode 0600)."
    )
    topic_prefix: str = Field(
        default="", description="What stands before every topic's name on the cluster. Never part of what is signed."
    )
    trust_root_file: Path | None = Field(
        default=None, description="The root's public key (a JWK in JSON), which signs the registry. Needed to run."
    )
    hub_key_file: Path | None = Field(
        default=None,
        description="The hub's private message key (PKCS#8 PEM, mode 0600, or a `pkcs11:` URI). The relay needs it; "
        "give it to no other.",
    )
    log_key_file: Path | None = Field(
        default=None,
        description="The evidence log's private key (Ed25519: PKCS#8 PEM, mode 0600, or a `pkcs11:` URI). "
        "The sequencer needs it; give it to no other.",
    )
    witness_urls: str = Field(
        default="",
        description="The witnesses' addresses, separated by commas. Their keys stand in the registry.",
    )
    hub_api_host: str = Field(default="127.0.0.1", description="The address on which API and metrics are served.")
    hub_api_port: int = Field(default=8080, ge=0, le=65_535, description="The API's port.")
    hub_api_url: str = Field(
        default="http://127.0.0.1:8080",
        description="The API's address as participants write it: the audience that their assertions must name.",
    )
    hub_api_address_quota: int = Field(
        default=3_000,
        ge=0,
        description="How many requests a minute one address may make without showing who it is; 0 sets no limit.",
    )
    hub_api_credential_quota: int = Field(
        default=12_000,
        ge=0,
        description="How many requests a minute one participant or client may make, wherever from; 0 sets no limit.",
    )
    oversight_seal_key_file: Path | None = Field(
        default=None,
        description="The oversight body's public X25519 key (PEM), to which its look-ups are sealed. "
        "Without it the oversight body can look nothing up.",
    )
    openid_issuer: str = Field(
        default="", description="The OpenID provider at which people may sign in; empty: with a password here alone."
    )
    openid_client_id: str = Field(default="", description="The name under which the provider knows this hub.")
    openid_client_secret_file: Path | None = Field(
        default=None, description="The secret that the provider gave this hub: a file of mode 0600."
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Where /healthz, /readyz and /metrics are served beside the API; 0 serves them nowhere.",
    )
    traces_url: str = Field(
        default="",
        pattern=r"^(https?://[^/].*)?$",
        description="Where spans go by OTLP over HTTP, for example `http://127.0.0.1:4318/v1/traces`; empty: nowhere. "
        "Wants the extra `traces` of the wheel.",
    )
    traces_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="The share of all messages whose traces are drawn; give all parties the same one.",
    )
    intake_batch_size: int = Field(
        default=1_000, ge=1, le=5_000, description="The most messages that the intake takes in one transaction."
    )
    database_pool_size: int = Field(
        default=8, ge=1, le=100, description="The most connections to the database that one process holds."
    )


def read_settings() -> Settings:
    """Return the settings that the environment holds.

    Raises SettingsInvalid, naming the variables and never their values, which may be secrets.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = (f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors() if fault["loc"])
        raise SettingsInvalid(f"These settings cannot be used: {'; '.join(faults)}.") from None
