"""A connector's settings. Only this module, and the agency's subclass of it, read the environment."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.link.fault import SettingsFault

SPOOL_BYTES_MAX_DEFAULT = 8 * 1024**3


class ConnectorSettings(BaseSettings):
    """What an agency may set, by environment variables of the same names in upper case. Secrets are file paths.

    An agency's own settings are a subclass with more fields (`class BankSettings(ConnectorSettings): ...`).
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    participant: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="This agency's id in the registry, for example `bri`."
    )
    source_uri: str = Field(
        min_length=1, max_length=256, description="The `source` of its events, which the registry must give to it."
    )
    key_file: Path = Field(
        description="The private key that signs messages (PKCS#8 PEM, mode 0600, or a `pkcs11:` URI)."
    )
    api_key_file: Path = Field(
        description="The private key that signs calls to the hub's API (PKCS#8 PEM, mode 0600, or a `pkcs11:` URI)."
    )
    hub_api_url: str = Field(
        pattern=r"^https?://[^/]", description="The hub's API, exactly as the operator of the exchange gives it."
    )
    kafka_bootstrap: str = Field(min_length=1, description="The brokers, as host:port, separated by commas.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL"] = Field(
        default="PLAINTEXT", description="`SSL` in service: both sides show a certificate. `PLAINTEXT` is for trials."
    )
    kafka_ssl_ca_file: Path | None = Field(
        default=None, description="The certificates (PEM) of the authorities that sign for the brokers."
    )
    kafka_ssl_certificate_file: Path | None = Field(
        default=None, description="This agency's certificate (PEM), whose common name is its `PARTICIPANT`."
    )
    kafka_ssl_key_file: Path | None = Field(
        default=None, description="The private key of that certificate (PEM, mode 0600)."
    )
    topic_prefix: str = Field(default="", description="What the operator put before every topic's name on the cluster.")
    trust_root_file: Path = Field(description="The root's public key (a JWK in JSON), had from the operator by hand.")
    spool_dir: Path = Field(
        description="A folder of this connector alone, on a disk that lasts: it holds what is not receipted yet."
    )
    spool_bytes_max: int = Field(
        default=SPOOL_BYTES_MAX_DEFAULT, ge=4 * 1024**2, description="The spool's limit in bytes. At it, facts wait."
    )
    http_host: str = Field(default="127.0.0.1", description="The address on which the connector's HTTP door is served.")
    http_port: int = Field(default=0, ge=0, le=65_535, description="The door's port; 0 takes a free one and logs it.")
    registry_refresh_s: float = Field(
        default=15.0, gt=0, description="How often the registry is asked for again, in seconds."
    )
    expiry_days: int = Field(
        default=90,
        ge=1,
        le=366,
        description="For how many days a message may travel, at most the registry's `expiry_days_max`.",
    )

    receipt_within_s: float = Field(
        default=1_800.0,
        gt=0,
        description="After so many seconds without the hub's receipt a message that was sent is an alarm; longer than "
        "the registry's `deferral_s`.",
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

    @property
    def spool_file(self) -> Path:
        """The one file that holds this connector's spool."""
        return self.spool_dir / "spool.sqlite"

    @property
    def registry_file(self) -> Path:
        """Where the newest registry is kept, so that a restart goes back to no older one."""
        return self.spool_dir / "registry.jws"

    @classmethod
    def read(cls) -> Self:
        """Return the settings that the environment holds.

        Raises SettingsFault, naming the variables and never their values, which may be secrets.
        """
        try:
            return cls()
        except ValidationError as error:
            faults = (f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors() if fault["loc"])
            raise SettingsFault(f"These settings cannot be used: {'; '.join(faults)}.") from None
