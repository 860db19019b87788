"""What is done about a stretch of an input partition that was lost to retention.

The intake notes it and goes on, and the senders send again what has no receipt. That is to be seen by somebody: until
an operator acknowledges it, it is an alarm and stands in readiness, which stays as it is.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from contracts.log import entry
from contracts.wire.instant import write_instant
from hub.desk import Desk, Plan
from hub.store import losses
from hub.store.losses import Loss

ACKNOWLEDGE_LOSS: Final = "acknowledge_loss"
NAMED_MAX = 10
_NAME: Final = re.compile(r"([a-z0-9._-]{1,128})/([0-9]{1,5})/([0-9]{1,18})")


class NotLost(LookupError):
    """There is no lost stretch of this name that still waits to be acknowledged."""


async def acknowledge(desk: Desk, name: str, actor: str, reason: str, now: datetime) -> None:
    """Note that an operator has seen a lost stretch, as a leaf of the log. Raises NotLost; then nothing has changed."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise NotLost(f"{name} is no name of a lost stretch: it is written topic/partition/offset.")
    judgement = await desk.judgement()
    plan = Plan()
    async with desk.database.transaction() as tx:
        place = (found[1], int(found[2]), int(found[3]))
        if not await losses.acknowledge(tx, *place, now, actor, reason):
            raise NotLost(f"No lost stretch {name} waits to be acknowledged.")
        leaf = {"action": ACKNOWLEDGE_LOSS, "subject": f"lost/{name}", "actor": actor, "reason": reason}
        plan.actions.append(entry.operator_action(**leaf, at=now))
        taken = await desk.seal(tx, judgement, plan, now, {})
    await desk.wake(taken)


def tell(found: Sequence[Loss]) -> str:
    """Return the sentences that readiness shows of lost stretches: which, since when, and what to do."""
    named = "; ".join(
        f"{loss.name} up to offset {loss.to_offset}, noted {write_instant(loss.noted_at)}" for loss in found[:NAMED_MAX]
    )
    more = f"; and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return (
        f"Lost to retention before they were taken in: {named}{more}. Look into it, then run `hub lost acknowledge "
        "NAME --reason WHY` for each."
    )
