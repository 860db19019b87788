"""What stops a connector, told in one sentence that names the fix.

LinkFault                  base: `str(fault)` is one clear sentence without personal data
|- SettingsFault           a setting, key or file that cannot be used           exit code 2
|- SpoolLocked             another process works on this spool                  exit code 2
|- SpoolUnusable           the spool's file is of another identity or format    exit code 2
|- SpoolFull               the disk or the spool's limit is reached             waiting helps: the facts stay where they are
|- ClaimTaken              a name that a request wanted to reserve is reserved  the caller answers the agency
|- TrustFault              the registry cannot be trusted                       exit code 1
|- StreamStopped           a record that cannot be verified, or a stretch that cannot be had
`- HubUnreachable          the hub's API does not answer, or answers with an error: exit code 3, waiting helps
"""

from typing import ClassVar


class LinkFault(Exception):
    """A fault whose text is one clear sentence for the operator; `exit_code` is what the process ends with."""

    exit_code: ClassVar[int] = 1


class SettingsFault(LinkFault):
    """A setting, key or file that cannot be used."""

    exit_code = 2


class SpoolLocked(LinkFault):
    """Another process works on this spool."""

    exit_code = 2


class SpoolUnusable(LinkFault):
    """The spool's file belongs to another source or was written by another format."""

    exit_code = 2


class SpoolFull(LinkFault):
    """The spool's size limit, or the disk, is reached; nothing of the request was stored."""


class ClaimTaken(LinkFault):
    """A name that the request wanted to reserve holds another value already; nothing of the request was stored."""

    def __init__(self, name: str, held: str) -> None:
        super().__init__("a name that this request reserves holds another value")
        self.name = name
        self.held = held


class TrustFault(LinkFault):
    """The registry that was offered cannot be trusted."""


class StreamStopped(LinkFault):
    """This stream must not go on: a record on it cannot be verified, or a stretch of it cannot be had."""


class HubUnreachable(LinkFault):
    """The hub's API does not answer, or answers with an error."""

    exit_code = 3
