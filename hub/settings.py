"""The hub's settings. This is the only module of the hub that reads the environment."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsInvalid(Exception):
    """The environment lacks a setting, or holds one that cannot be used; the message names each in one sentence."""


class Settings(BaseSettings):
    """What an operator may set, by environment variables of the same names in upper case. Secrets are file paths."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: str = Field(min_length=1)
    kafka_bootstrap: str = ""
    topic_prefix: str = ""
    trust_root_file: Path | None = None
    hub_key_file: Path | None = None
    hub_api_host: str = "127.0.0.1"
    hub_api_port: int = Field(default=8080, ge=0, le=65_535)
    hub_api_url: str = "http://127.0.0.1:8080"
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    intake_batch_size: int = Field(default=500, ge=1, le=5_000)
    database_pool_size: int = Field(default=8, ge=1, le=100)


def read_settings() -> Settings:
    """Return the settings that the environment holds.

    Raises SettingsInvalid, naming the variables and never their values, which may be secrets.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = (f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors() if fault["loc"])
        raise SettingsInvalid(f"These settings cannot be used: {'; '.join(faults)}.") from None
