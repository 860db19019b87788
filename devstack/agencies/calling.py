"""How a bank calls until it is answered: an inquiry, then the payment, and again after whatever got lost.

A bank that takes money whatever the bill says tells every payment. One that holds the money asks first, waits until
there is a bill, and gives back what it is not allowed to take.
"""

import http.client
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from devstack.agencies.part import Book
from devstack.agencies.scenario import Attempt, Report
from devstack.agencies.snap import Call, NoTokenError, Sender, write_call, write_inquiry

TAKEN = "2002500"
INCONSISTENT = "4042518"
ACCEPTED_CODES = {TAKEN, INCONSISTENT}  # 4042518 answers a repeat with the first result: the first one got through.
BILL_FOUND = "2002400"
UNAUTHORISED, CONFLICT = "4012500", "4092500"
SERVER_ERROR = 500
RETRY_PAUSE_S = 0.25
RETRY_LIMIT_S = 90.0
CLOCK_WRONG = timedelta(seconds=1_500)


def call_for(report: Report) -> Call:
    """Write the notification of a report."""
    return write_call(
        billing_code=report.billing_code or "",
        amount=f"{report.amount:.2f}",
        currency=report.currency,
        paid_at=report.at,
        request_id=report.key,
        reference=report.reference,
        ntpn=report.ntpn,
    )


def _unchanged(call: Call) -> Call:
    return call


class Caller:
    """Makes one bank's calls and notes every answer. `holds`: the money waits for the answer."""

    def __init__(self, book: Book, sender: Sender, *, holds: bool, pause_s: float) -> None:
        self._book = book
        self._sender = sender
        self._holds = holds
        self._pause_s = pause_s
        self._questions = 0

    def tell_all(self, reports: Sequence[Report], after_first: Callable[[Report], None] | None = None) -> None:
        """Tell payments in order; one whose bill is not (or not again) there is asked about after the others."""
        waiting = deque(reports)
        deadline_s = time.time() + RETRY_LIMIT_S
        while waiting:
            report = waiting.popleft()
            code = self.inquire(report.billing_code or "")
            time.sleep(self._pause_s)
            if self._holds and code != BILL_FOUND and time.time() < deadline_s:
                waiting.append(report)
                continue
            deadline_s = time.time() + RETRY_LIMIT_S
            self._book.note("inquiries", report.key, code=code)
            if self.notify(report) and after_first is not None:
                after_first(report)
                after_first = None

    def inquire(self, billing_code: str) -> str:
        """Ask whether a bill may be paid, and return the answer's code."""
        self._questions += 1
        return self.ask(write_inquiry(billing_code, f"{billing_code}-{self._questions}"))

    def notify(self, report: Report) -> bool:
        """Tell a payment until the connector says that it has it, as a bank does that keeps it in its own queue."""
        call, first_at_s = call_for(report), time.time()
        code = self.ask(call, _unchanged, Call.renumbered, Call.advised)
        if code in ACCEPTED_CODES:
            self._book.note("told", report.key, first_at_s=first_at_s, channel=report.channel)
            return True
        self._book.note("rejected" if code else "undelivered", report.key, code=code)
        return False

    def ask(self, call: Call, *ways_in_turn: Callable[[Call], Call]) -> str:
        """Call until there is an answer that is no server's fault, and return its code; empty if there never is one.

        Each time the call is changed in the next of the ways; without any it stays as it is.
        """
        ways = deque(ways_in_turn or [_unchanged])
        deadline_s = time.time() + RETRY_LIMIT_S
        while time.time() < deadline_s:
            try:
                status, answer = self._sender.post(ways[0](call), datetime.now(UTC))
            except (OSError, http.client.HTTPException, ValueError, NoTokenError):
                status, answer = SERVER_ERROR, {}
            if status < SERVER_ERROR:
                return str(answer.get("responseCode"))
            ways.rotate(-1)
            time.sleep(RETRY_PAUSE_S)
        return ""

    # --- calls that are to be answered otherwise ----------------------------------------------------------------------

    def attempt(self, attempt: Attempt) -> None:
        """Ask for a payment that must be refused, once the bill stands as it must for that."""
        deadline_s = time.time() + RETRY_LIMIT_S
        code = self.inquire(attempt.billing_code)
        while code != attempt.inquiry_answer and time.time() < deadline_s:
            time.sleep(RETRY_PAUSE_S)
            code = self.inquire(attempt.billing_code)
        self._note(f"{attempt.key}: inquiry", attempt.inquiry_answer, code)
        call = write_call(
            billing_code=attempt.billing_code,
            amount=f"{attempt.amount:.2f}",
            currency=attempt.currency,
            paid_at=attempt.at,
            request_id=attempt.key,
            reference=attempt.reference,
            ntpn=None,
        )
        # A new number each time: an answer that got lost must not make the next call a repeat.
        self._note(f"{attempt.key}: payment", attempt.answer, self.ask(call, Call.renumbered))

    def repeat(self, report: Report) -> None:
        """Call again about a payment that was taken, in each way that a bank has, and in two that are wrong."""
        call = call_for(report)
        changed = Call(call.body.replace(b'"value": "', b'"value": "9'), call.external_id)
        other = Call(call.body.replace(report.key.encode(), f"{report.key}-2".encode()), call.external_id)
        self._note("same X-EXTERNAL-ID", INCONSISTENT, self.ask(call))
        self._note("new X-EXTERNAL-ID", TAKEN, self.ask(call, Call.renumbered))
        self._note("flagAdvise", TAKEN, self.ask(call.advised()))
        self._note("another payment under a used X-EXTERNAL-ID", CONFLICT, self.ask(other))
        self._note("another amount under a used paymentRequestId", INCONSISTENT, self.ask(changed, Call.renumbered))
        self._book.note("contradicted", report.key)

    def misuse(self) -> None:
        """Calls under the bank's name that must be turned away: signed over other content, and by a clock far off."""
        call = write_call(
            billing_code="800000000000000",
            amount="100.00",
            currency="USD",
            paid_at=datetime.now(UTC) - timedelta(minutes=1),
            request_id="forged",
            reference="FORGED",
            ntpn=None,
        )
        self._note("forged", UNAUTHORISED, self._insist(call, timedelta(), forged=True))
        self._note("clock far off", UNAUTHORISED, self._insist(call, CLOCK_WRONG, forged=False))

    def _insist(self, call: Call, behind: timedelta, *, forged: bool) -> str:
        deadline_s = time.time() + RETRY_LIMIT_S
        while time.time() < deadline_s:
            try:
                _, answer = self._sender.post(call, datetime.now(UTC) - behind, forged=forged)
            except (OSError, http.client.HTTPException, ValueError, NoTokenError):
                time.sleep(RETRY_PAUSE_S)
                continue
            return str(answer.get("responseCode"))
        return ""

    def _note(self, name: str, wanted: str, code: str) -> None:
        self._book.note("calls", name, wanted=wanted, code=code)
