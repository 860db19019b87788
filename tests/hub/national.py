"""A simulated year on its way through the hub's own desk: signed in batches, taken in, seen by overseers."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from devstack.agencies.year import HUB, Told
from hub.desk import Batch
from hub.overseer import Overseer
from hub.store import positions
from tests.contracts.samples import SAMPLES
from tests.hub.exchange import BANK_CODES, Exchange, Sender

BATCH_MAX = 64
LOOKED_AT_ONCE = 500
#: So much of the year is taken in by one transaction, as after a short outage.
STRETCH = timedelta(hours=8)
APPROVED = "id.tka.ministry.permit.approved.v1"
REVOKED = "id.tka.ministry.permit.revoked.v1"


def complete(told: Told, blocks: dict[str, dict[str, Any]], participant: str) -> dict[str, Any]:
    """What was told, with the members that a simulated year leaves out since nobody folds them."""
    block = blocks.get(told.key, {})
    sample = {name: value for name, value in SAMPLES[told.type].items() if name not in told.data}
    if told.type.startswith("id.tka.ministry.permit.submitted"):
        blocks[told.key] = block = {name: told.data[name] for name in SAMPLES[told.type].keys() & told.data.keys()}
    data = sample | {name: value for name, value in block.items() if name in sample} | told.data
    if "bank_code" in data:
        data["bank_code"] = BANK_CODES[participant]
    if "person" in data:
        data["person"] = data["person"] | {"nationality": data["nationality"]}
    if data.get("fx_rate", "") is None:
        del data["fx_rate"], data["fx_date"]
    return data


def sender_of(exchange: Exchange, told: Told) -> Sender:
    """Who says it; the third bank's customers are the first one's here."""
    name = told.source[8:].partition(".")[0]
    return {"ministry": exchange.ministry, "immigration": exchange.immigration, "mandiri": exchange.mandiri}.get(
        name, exchange.bri
    )


def stretches(told: Iterable[Told]) -> Iterator[list[Told]]:
    """Part the year; a revocation ends a stretch, so that what follows it is dated as it was.

    What the exchange itself would have said is left out: the hub under test says it. What it would never say stands
    alone: somebody has to write that past it.
    """
    told = list(told)
    approved = {one.key for one in told if one.type == APPROVED}
    part: list[Told] = []
    for one in told:
        forged = one.source == HUB and one.key not in approved
        if part and (forged or one.known_at - part[0].known_at > STRETCH):
            yield part
            part = []
        if forged or one.source != HUB:
            part.append(one)
        if part and (forged or one.type == REVOKED):
            yield part
            part = []
    if part:
        yield part


class Year:
    """Tells a year to an exchange, stretch by stretch."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._blocks: dict[str, dict[str, Any]] = {}
        self.messages = 0

    @classmethod
    async def open(cls, exchange: Exchange) -> "Year":
        """Begin every sender's partition."""
        async with exchange.database.transaction() as tx:
            for sender in (exchange.ministry, exchange.bri, exchange.mandiri, exchange.immigration):
                topic = f"from.{sender.participant}"
                await positions.open_partition(tx, f"id-of-{topic}", 0, topic)
        return cls(exchange)

    def _batches(self, part: list[Told]) -> list[Batch]:
        by_sender: dict[str, tuple[Sender, list[bytes]]] = {}
        for one in part:
            sender = sender_of(self._exchange, one)
            data = complete(one, self._blocks, sender.participant)
            value = sender.write(one.type, data, one.key, time=one.time)
            by_sender.setdefault(sender.participant, (sender, []))[1].append(value)
        batches = []
        for sender, values in by_sender.values():
            starts = range(0, len(values), BATCH_MAX)
            records = [one for start in starts for one in sender.sign_all(values[start : start + BATCH_MAX])]
            batches.append(self._exchange.batch(records))
        return batches

    async def take(self, part: list[Told], now: datetime) -> None:
        """Let the desk take a stretch, as one transaction of the intake does."""
        batches = self._batches(part)
        taken = await self._exchange.desk.receive_together(batches, now)
        assert (taken.accepted, dict(taken.refused)) == (len(part), {})
        self._exchange.settle(batches)
        self.messages += len(part)


async def watch(exchange: Exchange, now: datetime) -> None:
    """Let the overseer follow the log to its end, look at everything that is awake, judge the groups."""
    overseer = Overseer(exchange.desk)
    while await overseer.follow(now):
        pass
    while await overseer.look(now, LOOKED_AT_ONCE):
        pass
    while await overseer.judge_groups(now, LOOKED_AT_ONCE):
        pass
