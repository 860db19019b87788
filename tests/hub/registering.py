"""The registry changed as it must be, for tests of something else: proposed, signed by two persons, put in force."""

from collections.abc import Sequence
from datetime import datetime

from contracts.wire.key import PrivateKey
from hub import registration
from hub.proposal import Proposal
from hub.registration import Applied, Edit
from hub.store import registry as registry_store
from hub.store.database import Database
from tests.contracts.root_world import TWO, Json, roots_for


async def register(
    database: Database, edit: Edit, root: PrivateKey, now: datetime, *persons: PrivateKey,
    roots: list[Json] | None = None,
) -> Applied:  # fmt: skip
    """Put the next version in force, signed by `persons` or by two; `roots` is another chain than the one in force."""
    base = await read_base(database)
    if base is None and roots is None:
        roots = roots_for(root, edit(None)["environment"])
    return await registration.apply(database, propose(base, [edit], root, now, *persons, roots=roots), root.public, now)


async def read_base(database: Database) -> str | None:
    """Return the signed document in force."""
    async with database.connection() as connection:
        stored = await registry_store.read_in_force(connection)
    return None if stored is None else stored.document


def propose(
    base: str | None, edits: Sequence[Edit], root: PrivateKey, now: datetime, *persons: PrivateKey,
    roots: list[Json] | None = None,
) -> Proposal:  # fmt: skip
    """Propose the next version and let `persons`, or two, sign it."""
    proposal = registration.write_proposal(base, roots, edits, root.public, now)
    for person in persons or TWO:
        proposal = proposal.sign(person, root.public, now)
    return proposal
