"""Leadership by advisory locks: one holder, members counted, and a silent one put aside."""

import pytest
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from hub.store import election as room
from hub.store.election import SESSION_ERRORS, Election

pytestmark = pytest.mark.anyio


async def test_one_wins_and_gives_back(database: str) -> None:
    first, second = await Election.open(database, "relay"), await Election.open(database, "relay")
    assert await first.win("to.bri")
    assert not await second.win("to.bri")
    assert await second.win("to.mandiri")
    await first.yield_up("to.bri")
    assert await second.win("to.bri")
    await second.close()
    assert await first.win("to.mandiri")
    await first.close()


async def test_members_of_another_group_are_not_counted(database: str) -> None:
    relays = [await Election.open(database, "relay") for _ in range(2)]
    other = await Election.open(database, "deadlines")
    assert (await relays[0].count_members(), await other.count_members()) == (2, 1)
    await relays[1].close()
    assert await relays[0].count_members() == 1
    await other.close()
    await relays[0].close()


async def test_whoever_is_silent_loses_its_locks_and_learns_it_when_it_asks(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "IDLE_SESSION_TIMEOUT_MS", 300)
    frozen = await Election.open(database, "relay")
    assert await frozen.win("to.bri")
    monkeypatch.undo()
    live = await Election.open(database, "relay")

    async def win() -> bool:
        return await live.win("to.bri")

    await AsyncRetrying(stop=stop_after_delay(20), wait=wait_fixed(0.05), retry=retry_if_result(lambda won: not won))(
        win
    )
    with pytest.raises(SESSION_ERRORS):
        await frozen.confirm()
    await frozen.close()
    await live.close()
