"""A log that goes on under a new origin, because entries that witnesses had cosigned are lost for good.

    witnesses --find_last--> the last cosigned checkpoint --write_settings--> the registry's next version, signed by
    those who sign a registry --begin--> the first entry of the new log, in the transaction that puts it in force

A log whose database still contains all that was cosigned has nothing to succeed it: then it simply goes on.
"""

from typing import TYPE_CHECKING, Any

from contracts.errors import Code, RegistryError
from contracts.log import entry
from contracts.log.checkpoint import Checkpoint, read_checkpoint
from contracts.log.note import Kind, Note, VerifierKey
from contracts.log.succession import write_predecessor
from contracts.log.tile import Edge
from contracts.registry import Registry
from hub.store import tiles

if TYPE_CHECKING:
    from hub.store.database import Connection
    from hub.store.registry import LogHead

LEAVES_AT_ONCE = 10_000


class NothingLost(Exception):
    """The database contains everything that witnesses cosigned, or no witness has seen this log at all."""


async def begin(connection: "Connection", head: "LogHead", new: Registry) -> list[bytes]:
    """Return the first entry of the log that `new` puts in force; none if that is the log of before.

    Raises RegistryError (registry_rollback) for another log that succeeds nothing, or where nothing was lost.
    """
    if head.origin in ("", new.log_origin):
        return []
    if not new.predecessors or new.predecessors[-1].policy.origin != head.origin:
        raise RegistryError(Code.REGISTRY_ROLLBACK, "of another log")
    ended = new.predecessors[-1]
    if await contains(connection, head.next_index, ended.checkpoint):
        raise RegistryError(Code.REGISTRY_ROLLBACK, "the log holds all that was cosigned, and must not be succeeded")
    return [entry.succession(origin=new.log_origin, checkpoint=ended.note)]


async def contains(connection: "Connection", leaves: int, signed: Checkpoint) -> bool:
    """Whether the first entries of the database, which has so many `leaves`, are those that were signed."""
    if signed.size > leaves:
        return False
    edge = Edge()
    while edge.size < signed.size:
        wanted = min(LEAVES_AT_ONCE, signed.size - edge.size)
        edge.extend(await tiles.read_leaf_hashes(connection, edge.size, wanted))
    return edge.root() == signed.root


def choose_last(shown: list[Note]) -> Note:
    """Return the largest of the checkpoints that witnesses showed. Raises NothingLost if there is none."""
    if not shown:
        raise NothingLost("No witness has cosigned this log: it can go on as it is.")
    return max(shown, key=lambda note: read_checkpoint(note.text).size)


def write_settings(registry: Registry, last: Note, origin: str, key: VerifierKey) -> dict[str, Any]:
    """Return the settings of the registry's next version, under which the log goes on as `origin`.

    Raises Unproven if the checkpoint is not the log's own; ValueError if origin or key were used before.
    """
    used = {registry.log_origin, *(one.policy.origin for one in registry.predecessors)}
    if origin in used or key.name != origin or key.kind is not Kind.ED25519:
        raise ValueError("a new log needs a name that no log had, and a verifier key of that name")
    if any(key.public == known.public for known in registry.log.log_keys):
        raise ValueError("a new log needs a key of its own: the old one must never sign again")
    kept = registry.document.get("predecessors", [])
    ended = write_predecessor(last.write().decode(), registry.log)
    return {"log_origin": origin, "log_keys": [key.write()], "predecessors": [*kept, ended]}
