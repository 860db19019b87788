"""What still waits when somebody goes away for three days, and what must have become of it afterwards.

An unpaid bill that runs out meanwhile; one that is paid in time, of which the hub learns only after it ran out; money
that a bank tells of and never books; a question of Immigration that nobody answers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import httpx

from contracts.rules.clock import add_banking_days, count_banking_days, end_of_day, jakarta_day
from devstack.agencies.scenario import Application, Report, Row
from devstack.demonstration.cast import TOPICS, hub_environment
from hub.store.privileges import Role
from tests.faults.background import NotReached, wait_until
from tests.faults.exchange import Exchange
from tests.faults.rig import COMMAND_LIMIT_S, REPOSITORY

# With the limits of these tests money must be booked by the end of the first banking day after it was paid.
BOOKING_DAYS = 1
# Above the heartbeats' pace, and far below an outage.
NEWS_AGE_MAX = timedelta(seconds=30)
BILL_VALIDITY = timedelta(hours=24)
BILL_CLOSED = "id.tka.hub.bill.closed.v1"
HEARTBEAT = "id.tka.hub.heartbeat.v1"
SETTLE_LIMIT_S = 60.0


@dataclass(frozen=True)
class Waiting:
    """Four applications, by what each waits for, and when money of today must have been booked."""

    exchange: Exchange
    unpaid: Application
    paid_meanwhile: Application
    unbooked: Application
    asked: Application
    booked_by: datetime

    def pay(self) -> None:
        """Let the bank tell of a payment in time, before the bill's end."""
        natives = self.exchange.natives
        natives.books.applications[self.paid_meanwhile.number] = self.paid_meanwhile
        natives.notify(_notification_of(self.exchange, self.paid_meanwhile))

    def findings(self, ahead: timedelta) -> list[str]:
        """Return what is not as it must be now that all clocks are put on by `ahead`."""
        try:
            wait_until("the heartbeats are of now", lambda: not self._find_stale(ahead), SETTLE_LIMIT_S)
            wait_until("the recommendation is valid", lambda: self._validity() == "valid", SETTLE_LIMIT_S)
            wait_until("the deadlines have passed", lambda: not list(self._find_undone(ahead)), SETTLE_LIMIT_S)
        except NotReached as fault:
            found = [*self._find_stale(ahead), *self._find_undone(ahead)]
            return [str(fault), *found, f"Immigration says {self._validity()}"]
        return [*self._find_untrue_bills(), *self._find_untrue_ages(ahead), *self._find_untrue_questions(ahead)]

    # --- what happens by itself --------------------------------------------------------------------------------------

    def _find_undone(self, ahead: timedelta) -> Iterator[str]:
        if not self._closings(self.unpaid):
            yield "the bill that ran out was not closed"
        if len(self._differences()) != 1:
            yield f"the money that was not booked made {len(self._differences())} differences"
        for row in self._differences():
            if not self.booked_by <= row["opened_at"] <= datetime.now(UTC) + ahead:
                yield f"the difference was opened at {row['opened_at']}, the money had time until {self.booked_by}"

    def _find_stale(self, ahead: timedelta) -> list[str]:
        told = self.exchange.observer.fetch(
            "SELECT topic, partition, max((convert_from(value, 'UTF8')::json ->> 'time')::timestamptz) AS at"
            " FROM outbox WHERE topic LIKE 'to.%' AND convert_from(value, 'UTF8')::json ->> 'type' = $1 GROUP BY 1, 2",
            HEARTBEAT,
        )
        last = {(row["topic"], row["partition"]): row["at"] for row in told}
        streams = [(name, one) for name in TOPICS if name.startswith("to.") for one in range(TOPICS[name])]
        since = datetime.now(UTC) + ahead - NEWS_AGE_MAX
        return [f"{stream} has no heartbeat of now" for stream in streams if last.get(stream, since) <= since]

    def _validity(self) -> str:
        pages = self.exchange.natives.visa_book.show()["pages"]["recommendations"].values()
        number = next(page["number"] for page in pages if page["application"] == self.asked.number)
        address = f"{self.exchange.rig.url('connector-immigration')}/valid"
        return str(httpx.get(address, params={"number": number}).json()["status"])

    # --- what must be true then --------------------------------------------------------------------------------------

    def _find_untrue_bills(self) -> Iterator[str]:
        if (unpaid := self._closings(self.unpaid)) != ["expired"]:
            yield f"the unpaid bill was closed as {unpaid}"
        if (paid := self._closings(self.paid_meanwhile)) not in (["paid"], ["expired", "paid"]):
            yield f"the bill that was paid in time was closed as {paid}"

    def _find_untrue_ages(self, ahead: timedelta) -> Iterator[str]:
        shown = _show_differences(self.exchange, ahead)
        day = date.fromisoformat(shown["reports"][0]["day"])
        if day >= jakarta_day(datetime.now(UTC) + ahead) or day < jakarta_day(self.booked_by):
            yield f"the last day that is over was said to be {day}"
        for row in self._differences():
            [listed] = [one for one in shown["differences"] if one["id"] == row["id"]]
            age = count_banking_days(row["paid_on"], day)
            if listed["age_banking_days"] != age:
                yield f"a difference of {row['paid_on']} is {listed['age_banking_days']} banking days old, not {age}"

    def _find_untrue_questions(self, ahead: timedelta) -> Iterator[str]:
        read = partial(self.exchange.rig.read_figure, "connector-immigration")
        asked_at = read("tkahub_connector_question_oldest_timestamp_seconds")
        age = datetime.now(UTC) + ahead - datetime.fromtimestamp(asked_at, UTC)
        if read("tkahub_connector_questions_open") != 1 or not ahead <= age <= ahead + NEWS_AGE_MAX * 10:
            yield f"Immigration's question is {age} old, it was asked {ahead} ago"

    def _closings(self, application: Application) -> list[str]:
        rows = self.exchange.observer.fetch(
            "SELECT value FROM outbox WHERE topic = 'to.bri' AND convert_from(value, 'UTF8')::json ->> 'type' = $1"
            " AND convert_from(value, 'UTF8')::json -> 'data' ->> 'billing_code' = $2 ORDER BY seq",
            *(BILL_CLOSED, _code_of(application)),
        )
        return [json.loads(row["value"])["data"]["reason"] for row in rows]

    def _differences(self) -> list[Any]:
        query = "SELECT id, kind, paid_on, opened_at, state FROM differences WHERE key = $1 AND state = 'open'"
        return self.exchange.observer.fetch(query, _code_of(self.unbooked))


def begin_waiting(exchange: Exchange) -> Waiting:
    """Tell of what is to wait, and let the rest of it come to rest."""
    natives, now = exchange.natives, datetime.now(UTC)
    unpaid, paid_meanwhile, unbooked = natives.deal(3)
    asked = next(made for made in natives.day.applications.values() if made.variant == "queried")
    for application in (unpaid, paid_meanwhile):
        natives.write_rows(_shorten(row, now + BILL_VALIDITY) for row in natives.rows_of([application]))
    natives.books.applications[unbooked.number] = unbooked
    natives.write_rows(natives.rows_of([unbooked]))
    natives.notify(replace(_notification_of(exchange, unbooked), at=now))
    exchange.settle(natives.tell([asked]))
    booked_by = end_of_day(add_banking_days(jakarta_day(now), BOOKING_DAYS))
    return Waiting(exchange, unpaid, paid_meanwhile, unbooked, asked, booked_by)


def _shorten(row: Row, until: datetime) -> Row:
    """Let the bill in a row of the register run out at another time."""
    if row.kind != "KODE_BAYAR":
        return row
    return replace(row, payload=row.payload | {"berlaku_sampai": until.isoformat()})


def _notification_of(exchange: Exchange, application: Application) -> Report:
    reports = exchange.natives.reports_of([application])
    return next(report for report in reports if report.channel == "notification")


def _code_of(application: Application) -> str:
    if application.bill is None:
        raise LookupError(f"{application.number} has no bill")
    return application.bill.code


def _show_differences(exchange: Exchange, ahead: timedelta) -> dict[str, Any]:
    """Run `hub reconcile show` with a clock that is put on."""
    clock = exchange.rig.cast.folder / "operator-clock"
    clock.write_text(str(ahead / timedelta(hours=1)))
    rule = "hub.clock:utc_now=tests.faults.clocks:read_ahead"
    environment = hub_environment(exchange.rig.cast, role=Role.AUDIT)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.armed", "hub.cli", "reconcile", "show", "--json"],
        cwd=REPOSITORY,
        env=os.environ | environment | {"FAULT_CLOCK": str(clock), "FAULT_REPLACE": rule},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"hub reconcile show failed with {done.returncode}: {done.stderr}")
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown
