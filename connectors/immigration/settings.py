"""An immigration connector's settings: the link's, where the visa system is, and how old its picture may be."""

from pydantic import Field

from connectors.link.settings import ConnectorSettings


class ImmigrationSettings(ConnectorSettings):
    """The settings of every connector, and the visa system's."""

    visa_system_url: str = Field(pattern=r"^https?://[^/]", description="The visa system's HTTP address.")
    answers_poll_s: float = Field(
        default=0.5, gt=0, description="How long to wait before asking the visa system for answers again, in seconds."
    )
    freshness_limit_s: float | None = Field(
        default=None,
        gt=0,
        description="The age in seconds from which the feed counts as stale; unset, three heartbeats of the registry.",
    )
