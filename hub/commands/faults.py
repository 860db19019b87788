"""What an operator is told about an error: one sentence, and an exit code that says whose turn it is."""

from ssl import SSLError

import asyncpg

from contracts.errors import EXPLANATIONS, RegistryError
from contracts.rules.rulebook import RuleSetError
from hub.accounts import AttemptRefused, AttemptsLimited
from hub.administration import KafkaForbidden, KafkaUnreachable
from hub.commands.terminal import FOUND_WRONG, UNREACHABLE, WRONG_USE
from hub.intake import IntakeFailed
from hub.publication import FolderContradicts, NothingToPublish
from hub.registration import ChangeInvalid
from hub.relay import RelayRefused
from hub.release import KeyNotOurs
from hub.sequencer import LogRefused
from hub.settings import SettingsInvalid
from hub.store.schema import SchemaOutdated
from hub.store.tiles import LeavesMissing
from hub.topics import TopicChanged
from hub.trust import RegistryAbsent
from hub.witnesses import WitnessRefused
from keys.fault import KeyFault

WRONG_SETTINGS = (
    SettingsInvalid,
    SchemaOutdated,
    RegistryAbsent,
    ChangeInvalid,
    KeyNotOurs,
    RuleSetError,
    KafkaForbidden,
)
WRONG_STATE = (
    RelayRefused,
    LogRefused,
    WitnessRefused,
    LeavesMissing,
    FolderContradicts,
    NothingToPublish,
    TopicChanged,
    IntakeFailed,
)
REFUSED_LOGIN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, SSLError, TimeoutError)


def explain(error: BaseException) -> tuple[int, str] | None:
    """Return the exit code and the sentence for an error that an operator can act on; None for a defect."""
    if isinstance(error, RegistryError):
        meaning = EXPLANATIONS[error.code].meaning_en
        return WRONG_USE, f"The registry was refused ({error}): {meaning}"
    if isinstance(error, WRONG_SETTINGS):
        return WRONG_USE, str(error)
    if isinstance(error, AttemptRefused | AttemptsLimited):
        return (
            WRONG_USE,
            "Name and password do not belong together, or too many attempts failed: wait a quarter of an hour.",
        )
    if isinstance(error, WRONG_STATE):
        return FOUND_WRONG, str(error)
    if isinstance(error, REFUSED_LOGIN):
        return WRONG_USE, f"The database refuses this user or has no such database ({type(error).__name__})."
    if isinstance(error, KeyFault):
        # Which key it is, the part that signs has said when it opened it; now its token is away.
        return UNREACHABLE, f"A private key {error}."
    if isinstance(error, KafkaUnreachable):
        return UNREACHABLE, f"Kafka cannot be reached: {error}"
    if isinstance(error, OUTAGES):
        return UNREACHABLE, f"The database cannot be reached ({type(error).__name__})."
    return None
