"""A bank connector's settings: the link's, and where the bank's own things are."""

from pathlib import Path

from connectors.link.settings import ConnectorSettings


class BankSettings(ConnectorSettings):
    """`snap_profile_file` is what was agreed with the bank; `statement_dir` is where it drops its statements."""

    snap_profile_file: Path
    statement_dir: Path
