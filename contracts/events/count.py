"""The daily count: what one source said in one stretch of the log, as the hub and as the sender count it."""

from typing import Annotated, Literal

from pydantic import Field

from contracts import fields
from contracts.errors import Code
from contracts.events.event import EventData, Part

#: So many stretches of sequences a count names; a source whose day has more holes is compared by digest alone there.
RANGES_MAX = 256
SOURCES_MAX = 64
PARTITIONS_MAX = 64
CODES_MAX = len(Code)

Number = Annotated[int, Field(ge=0, le=2**53 - 1)]


class RefusedCount(Part):
    """How many messages were refused for one reason."""

    code: fields.Word
    count: Annotated[int, Field(ge=1, le=2**53 - 1)]


class SequenceRange(Part):
    """Sequences from `first` to `last`, both included."""

    first: fields.SequenceText
    last: fields.SequenceText


class Counted(Part):
    """What a source said. The digest is over one line for each accepted message: its sequence, id and digest."""

    accepted: Number
    refused: Annotated[list[RefusedCount], Field(max_length=CODES_MAX)]
    first: fields.SequenceText | None
    last: fields.SequenceText | None
    ranges: Annotated[list[SequenceRange], Field(max_length=RANGES_MAX)]
    sha256: fields.Sha256Text


class CountedSource(Counted):
    """What one of the participant's sources said, by the hub's books."""

    source: fields.SourceUri


class SentStream(Part):
    """What was sent to a participant on one partition: `last` is below `first` when that is nothing."""

    partition: Annotated[int, Field(ge=0, le=9_999)]
    first: fields.Sequence
    last: fields.Sequence


class CountStated(EventData):
    """What a participant counts of its own source of a day, in the hub's stretch of the log.

    Subject: the participant's id in upper case. A higher `revision` replaces a lower one. `rebuilt_at` is when the
    sender's records were lost and taken over from the hub, which does not tell what it had refused.
    """

    participant: fields.ParticipantId
    day: fields.Date
    revision: fields.Revision
    first_index: fields.LogIndex
    log_size: fields.LogIndex
    source: fields.SourceUri
    counted: Counted
    received: Number
    verdict: Literal["agrees", "differs"]
    rebuilt_at: fields.Timestamp | None

    def subject(self) -> str | None:
        """The participant's id in upper case."""
        return self.participant.upper()
