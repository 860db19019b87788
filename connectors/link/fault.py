"""What stops a connector, told in one sentence that names the fix.

LinkFault                  base: `str(fault)` is one clear sentence without personal data
|- FatalFault              waiting does not help: the process ends with the sentence and `exit_code`
|  |- SettingsFault        a setting, key or file that cannot be used           2
|  |- SpoolLocked          another process works on this spool                  2
|  |- SpoolUnusable        the spool's file is of another identity or format    2
|  |- SourceFault          the agency's own system is not as it should be       1
|  |- TrustFault           the registry cannot be trusted                       1
|  `- StreamStopped        a record that cannot be verified, or a stretch that cannot be had: stops that stream alone
|- PassingFault            waiting helps, nothing is lost: what raised it is tried again
|  |- SpoolFull            the disk or the spool's limit is reached
|  |- SourceUnreachable    the agency's own system does not answer
|  `- HubUnreachable       the hub's API does not answer, or answers with an error
`- ClaimTaken              a name that a request wanted to reserve is reserved: its caller answers the agency
"""

from typing import ClassVar


class LinkFault(Exception):
    """A fault whose text is one clear sentence for the operator."""


class FatalFault(LinkFault):
    """A fault that waiting does not mend; `exit_code` is what the process ends with."""

    exit_code: ClassVar[int] = 1


class PassingFault(LinkFault):
    """A fault that passes."""


class SettingsFault(FatalFault):
    """A setting, key or file that cannot be used."""

    exit_code = 2


class SpoolLocked(FatalFault):
    """Another process works on this spool."""

    exit_code = 2


class SpoolUnusable(FatalFault):
    """The spool's file belongs to another source or was written by another format."""

    exit_code = 2


class SourceFault(FatalFault):
    """The agency's own system is not as it should be: another database, a table or a right that is missing."""


class TrustFault(FatalFault):
    """The registry that was offered cannot be trusted."""


class StreamStopped(FatalFault):
    """A stream must not go on: a record on it cannot be verified, or a stretch of it cannot be had."""


class SpoolFull(PassingFault):
    """The spool's size limit, or the disk, is reached; nothing of the request was stored."""


class SourceUnreachable(PassingFault):
    """The agency's own system does not answer."""


class HubUnreachable(PassingFault):
    """The hub's API does not answer, or answers with an error."""


class ClaimTaken(LinkFault):
    """A name that the request wanted to reserve holds another value already; nothing of the request was stored."""

    def __init__(self, name: str, held: str) -> None:
        super().__init__("a name that this request reserves holds another value")
        self.name = name
        self.held = held
