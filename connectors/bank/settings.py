"""A bank connector's settings: the link's, and where the bank's own things are."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from connectors.link.settings import ConnectorSettings


def _split(written: object) -> object:
    return [part.strip() for part in written.split(",") if part.strip()] if isinstance(written, str) else written


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)]


class BankSettings(ConnectorSettings):
    """The settings of every connector, what was agreed with the bank, and where it drops its statements."""

    snap_profile_file: Path = Field(
        description="What was agreed with the bank for SNAP calls (JSON): `partner_id`, `bank_code`, "
        "`public_key_pem_file`, `timestamp_tolerance_s`."
    )
    statement_dir: Path = Field(
        description="The folder into which the bank puts camt.054 files, each under another name first."
    )
    snap_trusted_proxies: Networks = Field(
        default=(),
        description="Networks of the proxies whose X-Forwarded-For is believed, separated by commas; none by default.",
    )
    explanation_token_file: Path | None = Field(
        default=None,
        description="The token (mode 0600) of who may explain differences; without it no explanation is taken.",
    )
