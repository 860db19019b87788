"""The settings of the ministry's connector: those of every connector, its ways in and its way out."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from connectors.link.fault import SettingsFault
from connectors.link.settings import ConnectorSettings
from connectors.ministry.mapping import Mapping, MappingInvalid, read_mapping

SCHEMES = ("postgresql", "postgres", "mysql", "mariadb")


def _check_address(url: str) -> str:
    """Return a database's address that can be read; whoever stumbles over another one would repeat it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        # Without the text, which holds a password.
        raise PydanticCustomError("database_url", "it must be postgresql://user:password@host:port/name, or mysql://")
    return url


class MinistrySettings(ConnectorSettings):
    """The settings of every connector, where facts come from, and where outcomes go."""

    register_url: Annotated[str, AfterValidator(_check_address)] | None = Field(
        default=None,
        description="The permit register's database (PostgreSQL, MariaDB or MySQL), under a role that may read the"
        " outbox and write outcomes only.",
    )
    register_mapping_file: Path | None = Field(
        default=None,
        description="A TOML file that names the register's tables and columns (docs/how-to/ministry.md); without one"
        " they are `register.outbox` and `register.outcome`.",
    )
    events_token_file: Path | None = Field(
        default=None,
        description="Opens `POST /events` for who shows this file's token: a line of 32 characters or more, two during"
        " a change (mode 0600).",
    )
    events_dir: Path | None = Field(
        default=None, description="A folder from which files of events (CSV, NDJSON) with their manifests are taken."
    )
    webhook_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]",
        description="Where outcomes are sent as Standard Webhooks; without it they are written into the register, or"
        " else as files below `EVENTS_DIR`.",
    )
    webhook_secret_file: Path | None = Field(
        default=None,
        description="The secret that signs webhooks: a line of `whsec_` and base64, two during a change (mode 0600).",
    )

    def check_ways(self) -> None:
        """Raise SettingsFault unless facts have a way in, and outcomes have a way out."""
        if not (self.register_url or self.events_token_file or self.events_dir):
            raise SettingsFault(
                "Facts have no way in: set REGISTER_URL, EVENTS_TOKEN_FILE or EVENTS_DIR (or several of them)."
            )
        if not (self.register_url or self.webhook_url or self.events_dir):
            raise SettingsFault("Outcomes have no way out: set WEBHOOK_URL, REGISTER_URL or EVENTS_DIR.")
        if (self.webhook_url is None) != (self.webhook_secret_file is None):
            raise SettingsFault("WEBHOOK_URL and WEBHOOK_SECRET_FILE go together: set both, or neither.")

    def read_mapping(self) -> Mapping:
        """Return the mapping, or the usual names without a file. Raises SettingsFault."""
        if self.register_mapping_file is None:
            return Mapping()
        try:
            return read_mapping(self.register_mapping_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsFault(
                f"REGISTER_MAPPING_FILE {self.register_mapping_file} cannot be read: {error.strerror}."
            ) from None
        except (MappingInvalid, UnicodeDecodeError) as error:
            raise SettingsFault(
                f"REGISTER_MAPPING_FILE {self.register_mapping_file} cannot be used: {error}."
            ) from None
