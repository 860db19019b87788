"""The day as it is performed: chapters, kills, outages and troubles, each on a condition, none on a clock."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from devstack.agencies.scenario import BANKS, Day
from devstack.demonstration.cast import AGENCIES, EXPLAINING_BANK
from devstack.demonstration.ledger import Books, count_personal, expect, see
from devstack.demonstration.observation import SeenRecord, Tables, Watcher
from devstack.demonstration.protocols import expect_protocols, see_protocols
from devstack.demonstration.reconciliation import (
    CLOSED_KIND,
    RESOLVED_KIND,
    codes_of,
    expect_differences,
    expect_totals,
    list_days,
    list_standing,
    see_differences,
    see_totals,
)
from devstack.demonstration.stage import Stage, wait_until
from devstack.demonstration.troubles import Ledger, SecondHand
from devstack.processes import StackError

OUTAGE_S = 10
STEP_LIMIT_S = 90.0
SETTLE_POLL_S = 0.3
REPORT_LIMIT_S = 20.0
EXPLANATION = ("--code", "SETTLEMENT_PENDING", "--text", "Pembukuan menyusul.")
# A heartbeat goes out on every stream all the time, so a connector is hardly ever at the very end.
HEARTBEATS_ON_THE_WAY_MAX = 2
KILLED = ("hub-intake-1", "hub-relay", "hub-sequencer", "witness", *(f"connector-{agency}" for agency in AGENCIES))

Say = Callable[[str], None]


class Performance:
    """One run of the day on a stage where everything is ready."""

    def __init__(
        self, stage: Stage, day: Day, watcher: Watcher, tables: Tables, hand: SecondHand, ledger: Ledger, say: Say
    ) -> None:
        self._stage = stage
        self._day = day
        self._watcher = watcher
        self._tables = tables
        self._hand = hand
        self._ledger = ledger
        self._say = say

    async def perform(self) -> None:
        """Play the whole day. Raises StackError when something that must happen does not."""
        self._say("Sent: a stranger's message, an unknown contract, and one whose key the registry does not know yet")
        await self._hand.send_early(self._day)
        await self._play_dawn()
        await self._play_morning_and_noon()
        await self._play_afternoon()
        await self._play_evening()

    async def _play_dawn(self) -> None:
        self._say("Dawn (subuh): banks take money for bills that the ministry has not announced")
        await self._stage.begin_chapter("dawn", *BANKS)
        await self._wait("what is too early is held back", self._has_deferred)
        # Now, while little runs: the message waits only so long for its key.
        await self._register_branch()
        await self._wait("the banks' first payments are accepted", lambda: self._accepted_all(*BANKS, chapter="dawn"))
        await self._hand.repeat(await self._first_accepted("from.bri", "from.mandiri"))
        self._say("Sent again: an accepted message of each bank, same bytes; and once more with other bytes")

    async def _play_morning_and_noon(self) -> None:
        self._say("Morning (pagi): the ministry works; noon (siang): the banks report payments")
        rows = len(self._day.rows_of("morning"))
        await self._stage.begin_chapter("morning", "ministry")
        async with asyncio.TaskGroup() as group:
            for work in (
                self._send_refusable(),
                self._kill_after("connector-ministry", "ministry", "written", rows // 6),
                self._begin_noon_after(rows // 4),
                self._kill_after("hub-intake-1", "ministry", "written", rows * 5 // 8),
                self._kill_relay(rows * 3 // 4),
                self._trouble_immigration(),
                *(self._kill_bank_connector(bank) for bank in BANKS),
            ):
                group.create_task(work)
        await self._wait("the ministry's morning is over", lambda: self._have_played("morning", "ministry"))
        await self._wait("the banks' noon is over", lambda: self._have_played("noon", *BANKS))

    async def _register_branch(self) -> None:
        await self._stage.change_registry("branch.json")
        self._say("hub registry propose, two persons' signatures, apply: bri's second key is in the registry now")

    async def _send_refusable(self) -> None:
        await self._hand.send_refusable(self._day)
        self._say("Sent: a changed byte, a bank's permit event, another environment's message, an expired message")

    async def _begin_noon_after(self, rows: int) -> None:
        await self._wait_for_page("ministry", "written", rows)
        await self._stage.begin_chapter("noon", *BANKS)

    async def _kill_after(self, name: str, agency: str, page: str, count: int) -> None:
        await self._wait_for_page(agency, page, count)
        self._kill(name)

    async def _kill_relay(self, accepted: int) -> None:
        """Kill while the hub accepts messages, so that there is something to be sent."""

        async def is_reached() -> bool:
            counted = await self._tables.accepted_by_source()
            return counted.get(self._stage.cast.source("ministry"), 0) >= accepted

        await self._wait(f"the hub has accepted {accepted} of the ministry's messages", is_reached)
        self._kill("hub-relay")
        self._kill("hub-sequencer")

    def _kill(self, name: str) -> None:
        self._stage.kill(name)
        self._say(f"kill -9 {name}, started again")

    async def _kill_bank_connector(self, bank: str) -> None:
        """Kill while the bank is in the middle of its notifications."""
        before = len(self._day.reports_of(bank, "dawn"))
        notified = sum(report.channel == "notification" for report in self._day.reports_of(bank, "noon"))
        await self._kill_after(f"connector-{bank}", bank, "told", before + max(1, notified // 3))

    async def _trouble_immigration(self) -> None:
        """Kill the connector once recommendations flow, then let the system behind it be down for a while."""
        await self._kill_after("connector-immigration", "immigration", "recommendations", 2)
        self._kill("witness")
        await self._stage.take_down_immigration(OUTAGE_S)
        self._say(f"Immigration's system is down for {OUTAGE_S} s")

    async def _play_afternoon(self) -> None:
        touched = {
            made.number for made in self._day.applications.values() if made.variant in ("revoked", "reversed_repaid")
        }
        await self._wait("Immigration has what will be withdrawn", lambda: self._immigration_has(touched, "issued"))
        self._say("Afternoon (sore): payments are taken back, permits are revoked")
        await self._stage.begin_chapter("afternoon", "ministry", *BANKS)
        await self._wait("Immigration knows what is withdrawn", lambda: self._immigration_has(touched, "withdrawn"))
        await self._wait("the banks' afternoon is over", lambda: self._have_played("afternoon", *BANKS))
        await self._explain_as_bank()

    async def _explain_as_bank(self) -> None:
        """Explain what was notified long ago and not booked; what the evening's statement will bring is left to it."""
        asked, late = codes_of(self._day, "not_booked"), codes_of(self._day, "booked_late")

        async def find_open() -> dict[str, str]:
            """Ask the bank's own connector, as its people would."""
            opened = await self._stage.ask(f"connector-{EXPLAINING_BANK}", "/differences")
            return {each["billing_code"]: each["difference_id"] for each in opened if each["kind"] == RESOLVED_KIND}

        async def are_open() -> bool:
            return asked | late <= (await find_open()).keys()

        await self._wait("money that was notified long ago and not booked is a difference", are_open)
        for code, identity in (await find_open()).items():
            if code in asked:
                await self._stage.run_bank(EXPLAINING_BANK, "explain", identity, *EXPLANATION)
                self._ledger.explained.append(identity)
        self._say("connectors.bank explain: a bank says why its books lack money; the ministry explains too")

    async def _play_evening(self) -> None:
        self._say("Evening (petang): what was taken back is paid again")
        await self._stage.begin_chapter("evening", *BANKS)
        await self._wait("the banks' evening is over", lambda: self._have_played("evening", *BANKS))
        await self._close_as_operator()

    async def _close_as_operator(self) -> None:
        """Close what no message will ever resolve: a payment taken back that nobody had told."""

        def find_open() -> list[str]:
            standing = list_standing(self._watcher, "ministry")
            return [identity for identity, each in standing.items() if each.kind == CLOSED_KIND]

        async def is_open() -> bool:
            return bool(find_open())

        await self._wait("a reversal of nothing is a difference", is_open)
        identity = find_open()[0]
        await self._stage.run_hub("reconcile", "close", identity, "--reason", "The bank took back its own error.")
        self._ledger.closed.append(identity)
        self._say("hub reconcile close: one difference is over on an operator's word")

    async def reconcile(self) -> tuple[dict[str, int], dict[str, int]]:
        """Have every banking day of the money reported, and return each bank's sums as (expected, seen)."""
        books = Books(self._day, await self._stage.read_books(), self._ledger)
        for day in list_days(books):
            await self._stage.run_hub("reconcile", "run", "--day", day.isoformat(), "--json")
        expected = expect_totals(books)

        async def are_reported() -> bool:
            return see_totals(self._watcher) == expected

        with contextlib.suppress(StackError):
            await wait_until("the banks' days are reported", are_reported, REPORT_LIMIT_S)
        return expected, see_totals(self._watcher)

    async def settle(self) -> tuple[dict[str, int], dict[str, int]]:
        """Wait until what is seen is what is expected, and return (expected, seen); after the limit, as they stand."""
        deadline_s = time.monotonic() + STEP_LIMIT_S
        while True:
            self._stage.check_alive()
            expected, seen = await self.compare()
            if expected == seen or time.monotonic() > deadline_s:
                return expected, seen
            await asyncio.sleep(SETTLE_POLL_S)

    async def compare(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return (expected, seen) of this moment."""
        books = Books(self._day, await self._stage.read_books(), self._ledger)
        seen = await see(self._stage.cast, books, self._watcher, self._tables, self._stage.kills)
        seen |= await self._see_connectors()
        seen |= await see_protocols(self._stage, books.books, self._tables)
        seen["personal data in logs"] = count_personal(self._day, self._stage.read_logs())
        seen["personal data in metrics"] = count_personal(self._day, await self._stage.read_metrics())
        seen |= see_differences(books, self._watcher)
        return expect(books, KILLED) | expect_protocols(books.books) | expect_differences(books), seen

    async def _see_connectors(self) -> dict[str, int]:
        """Ask each connector how durable its spool is, and how far it has delivered what the hub sent."""
        durable, behind, stopped = 0, 0, 0
        for agency in AGENCIES:
            status = await self._stage.read_status(f"connector-{agency}")
            durable += status["spool"]["synchronous"] == "FULL"
            stopped += len(status["stopped_streams"])
            sent = len(self._watcher.records(f"to.{agency}"))
            behind += int(status["streams"][f"to.{agency}/0"] < sent - HEARTBEATS_ON_THE_WAY_MAX)
        return {"spools with synchronous=FULL": durable, "streams stopped": stopped, "connectors behind": behind}

    # --- conditions ---------------------------------------------------------------------------------------------------

    async def _wait(self, what: str, probe: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        async def checked() -> bool:
            self._stage.check_alive()
            self._watcher.check()
            return await probe()

        await wait_until(what, checked, STEP_LIMIT_S)

    async def _wait_for_page(self, agency: str, page: str, count: int) -> None:
        async def is_reached() -> bool:
            return len((await self._stage.read_book(agency)).page(page)) >= count

        await self._wait(f"{agency}'s book has {count} entries under {page!r}", is_reached)

    async def _has_deferred(self) -> bool:
        return (await self._tables.count()).deferred > 0

    async def _have_played(self, chapter: str, *agencies: str) -> bool:
        return all([chapter in (await self._stage.read_book(agency)).played for agency in agencies])

    async def _accepted_all(self, *banks: str, chapter: str) -> bool:
        accepted = await self._tables.accepted_by_source()
        return all(
            accepted.get(self._stage.cast.source(bank), 0) >= len(self._day.reports_of(bank, chapter)) for bank in banks
        )

    async def _immigration_has(self, applications: Iterable[str], state: str) -> bool:
        book = await self._stage.read_book("immigration")
        held = {entry["application"] for entry in book.page("recommendations").values() if entry["state"] == state}
        return set(applications) <= held

    async def _first_accepted(self, *topics: str) -> list[SeenRecord]:
        """Return the first record of each topic that the hub has accepted."""
        accepted = await self._tables.accepted_places()
        return [next(record for record in self._watcher.records(topic) if record.place in accepted) for topic in topics]
