"""A connector's settings. Only this module, and the agency's subclass of it, read the environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.link.fault import SettingsFault

SPOOL_BYTES_MAX_DEFAULT = 8 * 1024**3


class ConnectorSettings(BaseSettings):
    """What an agency may set, by environment variables of the same names in upper case. Secrets are file paths.

    An agency's own settings are a subclass with more fields (`class BankSettings(ConnectorSettings): ...`).
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    participant: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    source_uri: str = Field(min_length=1, max_length=256)
    key_file: Path
    api_key_file: Path
    hub_api_url: str = Field(pattern=r"^https?://[^/]")
    kafka_bootstrap: str = Field(min_length=1)
    topic_prefix: str = ""
    trust_root_file: Path
    spool_dir: Path
    spool_bytes_max: int = Field(default=SPOOL_BYTES_MAX_DEFAULT, ge=4 * 1024**2)
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65_535)
    registry_refresh_s: float = Field(default=15.0, gt=0)
    expiry_days: int = Field(default=90, ge=1, le=366)

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
