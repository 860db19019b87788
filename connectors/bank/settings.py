"""A bank connector's settings: the link's, and where the bank's own things are."""

from pathlib import Path

from pydantic import Field

from connectors.link.settings import ConnectorSettings


class BankSettings(ConnectorSettings):
    """The settings of every connector, what was agreed with the bank, and where it drops its statements."""

    snap_profile_file: Path = Field(
        description="What was agreed with the bank for SNAP calls (JSON): `partner_id`, `bank_code`, "
        "`public_key_pem_file`, `timestamp_tolerance_s`."
    )
    statement_dir: Path = Field(
        description="The folder into which the bank puts camt.054 files, each under another name first."
    )
