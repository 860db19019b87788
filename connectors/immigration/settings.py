"""An immigration connector's settings: the link's, where the visa system is, and how old its picture may be."""

from pydantic import Field

from connectors.link.settings import ConnectorSettings


class ImmigrationSettings(ConnectorSettings):
    """`freshness_limit_s` is the age from which the feed is stale; unset, three heartbeats of the registry."""

    visa_system_url: str = Field(pattern=r"^https?://[^/]")
    answers_poll_s: float = Field(default=0.5, gt=0)
    freshness_limit_s: float | None = Field(default=None, gt=0)
