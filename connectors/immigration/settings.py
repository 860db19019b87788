"""An immigration connector's settings: the link's, where the offices are, and how old its picture may be."""

from pathlib import Path

from pydantic import Field

from connectors.link.settings import ConnectorSettings


class ImmigrationSettings(ConnectorSettings):
    """The settings of every connector, and those of Immigration's offices."""

    visa_system_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]",
        description="The visa system's HTTP address, where one system serves all offices.",
    )
    offices_file: Path | None = Field(
        default=None, description="A JSON file of the offices and their doors, instead of VISA_SYSTEM_URL."
    )
    pull_token_file: Path | None = Field(
        default=None,
        description="A file with the bearer token for recommendations over HTTP; needed unless HTTP_HOST is loopback.",
    )
    answers_poll_s: float = Field(
        default=0.5, gt=0, description="How long to wait before asking an office for answers again, in seconds."
    )
    freshness_limit_s: float | None = Field(
        default=None,
        gt=0,
        description="The age in seconds from which the feed counts as stale; unset, three heartbeats of the registry.",
    )
    queue_bytes_max: int = Field(
        default=8 * 1024**3,
        ge=1024**2,
        description="The limit in bytes of what waits for the offices. At it, the hub's stream waits too.",
    )
