"""Immigration's visa system: an HTTP door that takes recommendations, and answers to be fetched.

Settings: those of `part.Casting`, SYSTEM_PORT (the visa system's own door, which can be down while the control door
answers).
"""

import os
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from devstack.agencies.door import Answer, Door
from devstack.agencies.part import Book, Casting, play
from devstack.agencies.scenario import Day, write_instant

ANSWERS_PER_CALL_MAX = 500
VISA_VALIDITY = timedelta(days=90)
STAY_VALIDITY = timedelta(days=365)
PORT_OF_ENTRY = "CGK"


class VisaSystem:
    """What Immigration knows and decides. Its policy follows the day's plan, so that every kind of answer occurs."""

    def __init__(self, day: Day, book: Book) -> None:
        self._day = day
        self._book = book
        self._answers: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def take(self, number: str, revision: str, state: str, query: dict[str, str], body: Any) -> Answer:
        """Take one recommendation: 201 when new, 200 when it is known, 409 when its content is another."""
        key = f"{number}/{revision}/{state}"
        known = self._book.find("recommendations", key)
        if known is not None:
            self._book.note("repeats", f"{key}#{self._book.count('repeats')}")
            same = known["body"] == body
            return (200, {"known": True}) if same else (409, {"error": "the content differs from the first"})
        application = str(body["application"])
        details = {"number": number, "revision": int(revision), "state": state, "application": application}
        self._book.note("recommendations", key, body=body, **details)
        self._decide(number, int(revision), state, application)
        return 201, {"known": False}

    def _decide(self, number: str, revision: int, state: str, application: str) -> None:
        planned = self._day.applications.get(application)
        variant = planned.variant if planned is not None else ""

        def answer(kind: str, **extra: str) -> None:
            self._answer(kind, number, revision, application, **extra)

        answer("acknowledged")
        if state == "withdrawn":
            answer("visa_revoked", visa_number=_visa_number(number), reason_code="REKOMENDASI_DITARIK")
        elif variant == "queried":
            text = "Mohon konfirmasi lokasi kerja."
            answer("queried", query_id=f"Q-{number}-{revision}", question_code="LOKASI_KERJA", text=text)
        elif variant == "deficiency":
            answer("visa_refused", reason_code="DOKUMEN_PERJALANAN")
        else:
            self._approve(number, revision, application)
            if variant in ("plain", "rupiah", "early_payment"):
                self._admit(number, revision, application)
            if variant == "early_payment":
                self._answer("exit", number, revision, application, port=PORT_OF_ENTRY)

    def _approve(self, number: str, revision: int, application: str) -> None:
        until = (datetime.now(UTC) + VISA_VALIDITY).date().isoformat()
        self._answer(
            "visa_approved", number, revision, application, visa_number=_visa_number(number), valid_until=until
        )

    def _admit(self, number: str, revision: int, application: str) -> None:
        until = (datetime.now(UTC) + STAY_VALIDITY).date().isoformat()
        permit = f"ITAS-{number.removeprefix('TKA-')}"
        self._answer("entry", number, revision, application, port=PORT_OF_ENTRY)
        self._answer("stay_permit_issued", number, revision, application, permit_number=permit, valid_until=until)

    def _answer(self, kind: str, number: str, revision: int, application: str, **extra: str) -> None:
        with self._lock:
            answer = {
                "id": len(self._answers) + 1,
                "kind": kind,
                "number": number,
                "revision": revision,
                "application": application,
                "at": write_instant(datetime.now(UTC)),
                **extra,
            }
            self._answers.append(answer)
        self._book.note("answers", str(answer["id"]), kind=kind, application=application)

    def list_answers(self, query: dict[str, str], body: Any) -> Answer:
        """Return the answers after an id, in order."""
        after, limit = int(query.get("after", "0")), min(int(query.get("limit", "100")), ANSWERS_PER_CALL_MAX)
        with self._lock:
            return 200, {"answers": self._answers[after : after + limit]}

    def take_query_answer(self, query_id: str, query: dict[str, str], body: Any) -> Answer:
        """Take the ministry's answer to a question, and approve the visa for which it was asked."""
        if not self._book.note("query_answers", query_id, body=body):
            return 200, {"known": True}
        asked = next(answer for answer in self._answers if answer.get("query_id") == query_id)
        self._approve(asked["number"], asked["revision"], asked["application"])
        return 201, {"known": False}


def _visa_number(number: str) -> str:
    return f"V-{number.removeprefix('TKA-')}"


def run() -> None:
    """Play Immigration."""
    casting, book = Casting.read(), Book()
    system = VisaSystem(casting.day, book)
    door = Door(
        int(os.environ["SYSTEM_PORT"]),
        {
            ("PUT", r"/recommendations/([^/]+)/(\d+)/(issued|withdrawn)"): system.take,
            ("GET", r"/answers"): system.list_answers,
            ("PUT", r"/query-answers/([^/]+)"): system.take_query_answer,
        },
    )
    door.open()

    def go_down(seconds: str, query: dict[str, str], body: Any) -> Answer:
        door.close()
        book.note("outages", seconds)
        threading.Timer(float(seconds), door.open).start()
        return 202, {"down_s": float(seconds)}

    play(casting, book, lambda chapter: None, {("POST", r"/outages/(\d+)"): go_down})
    door.close()


if __name__ == "__main__":
    run()
