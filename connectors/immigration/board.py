"""What Immigration's connector shows beside the link's own: the offices' queues, open questions, and alarms."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Gauge

from connectors.immigration.courier import Courier
from connectors.immigration.offices import UNROUTED, Offices
from connectors.immigration.standing_file import QueueState
from connectors.immigration.standings import Standings
from connectors.link.clock import Clock
from connectors.link.status import Shown, Table
from contracts.wire.instant import write_instant

ALARMS_SHOWN_MAX = 100
#: How long an office's oldest delivery may wait before somebody should look.
WAIT_NOTED = timedelta(hours=1)
#: How long a question may be open before somebody should look: two working days, and a weekend in between.
QUESTION_NOTED = timedelta(days=4)


class Board:
    """Shows; the gauges are set whenever somebody looks."""

    def __init__(
        self,
        standings: Standings,
        offices: Offices,
        couriers: dict[str, Courier],
        clock: Clock,
        metrics: CollectorRegistry,
    ) -> None:
        self._standings = standings
        self._offices = offices
        self._couriers = couriers
        self._clock = clock
        self._gauges = _Gauges(metrics)

    async def show(self) -> Shown:
        """Return notes and tables."""
        read = self._standings.read
        states = {name: read.queue_state(name) for name in (UNROUTED, *(one.name for one in self._offices.all))}
        alarms, questions = read.count_alarms(), read.questions()
        self._gauges.set(states, alarms, questions)
        return Shown(
            (*self._note_queues(states), *self._note_questions(questions), *_note_alarms(alarms)),
            (self._list_offices(states), _list_questions(questions), self._list_alarms()),
        )

    def _note_queues(self, states: dict[str, QueueState]) -> list[str]:
        notes = []
        for name, state in states.items():
            if name == UNROUTED and state.waiting:
                notes.append(f"{state.waiting} deliveries have a kanim that no office of OFFICES_FILE is in charge of.")
            elif state.oldest is not None and self._clock() - state.oldest > WAIT_NOTED:
                notes.append(f"Office {name} takes nothing: {state.waiting} deliveries wait, the oldest for"
                             f" {_span(self._clock() - state.oldest)}.")  # fmt: skip
        return notes

    def _note_questions(self, questions: tuple[int, datetime | None]) -> list[str]:
        count, oldest = questions
        if oldest is None or self._clock() - oldest <= QUESTION_NOTED:
            return []
        return [f"The Ministry has not answered for {_span(self._clock() - oldest)}; {count} questions are open."]

    def _list_offices(self, states: dict[str, QueueState]) -> Table:
        rows: list[tuple[str, ...]] = []
        for office in self._offices.all:
            state, courier = states[office.name], self._couriers.get(office.name)
            last = None if courier is None else courier.last_taken_at
            rows.append(
                (
                    *(office.name, office.door, str(state.waiting)),
                    "" if state.oldest is None else write_instant(state.oldest),
                    "" if last is None else write_instant(last),
                    (courier.trouble or "") if courier is not None else "",
                )
            )
        if states[UNROUTED].waiting:
            rows.append(("(no office)", "", str(states[UNROUTED].waiting), "", "", "no office is in charge"))
        return Table("Offices", ("office", "door", "waiting", "oldest", "last taken", "trouble"), tuple(rows))

    def _list_alarms(self) -> Table:
        rows = [
            (write_instant(one.decision.at), one.office, one.kind, one.decision.number, str(one.decision.revision),
             one.verdict or "", one.why or "", one.key)
            for one in self._standings.read.alarms(ALARMS_SHOWN_MAX)
        ]  # fmt: skip
        columns = ("decided at", "office", "kind", "number", "revision", "found", "why", "key")
        return Table("Visas decided on what did not stand", columns, tuple(rows))


class _Gauges:
    def __init__(self, metrics: CollectorRegistry) -> None:
        self._waiting = Gauge("tkahub_connector_office_waiting", "Deliveries that wait", ["office"], registry=metrics)
        self._oldest = Gauge(
            "tkahub_connector_office_oldest_timestamp_seconds",
            "When the oldest of them was queued",
            ["office"],
            registry=metrics,
        )
        self._open = Gauge("tkahub_connector_visa_alarms_open", "Alarms that nobody acknowledged", registry=metrics)
        self._questions = Gauge("tkahub_connector_questions_open", "Questions without an answer", registry=metrics)
        self._asked = Gauge(
            "tkahub_connector_question_oldest_timestamp_seconds", "When the oldest was asked", registry=metrics
        )

    def set(
        self, states: dict[str, QueueState], alarms: dict[str, int], questions: tuple[int, datetime | None]
    ) -> None:
        for name, state in states.items():
            self._waiting.labels(name or "unrouted").set(state.waiting)
            self._oldest.labels(name or "unrouted").set(0 if state.oldest is None else state.oldest.timestamp())
        self._open.set(sum(alarms.values()))
        self._questions.set(questions[0])
        self._asked.set(0 if questions[1] is None else questions[1].timestamp())


def _note_alarms(alarms: dict[str, int]) -> Sequence[str]:
    if not alarms:
        return []
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(alarms.items()))
    return [f"Visas were decided on recommendations that did not stand, or on a stale picture: {found}. See /status."]


def _list_questions(questions: tuple[int, datetime | None]) -> Table:
    count, oldest = questions
    rows = (("open", str(count)), ("oldest asked at", "" if oldest is None else write_instant(oldest)))
    return Table("Questions to the Ministry", ("figure", "value"), rows)


def _span(time: timedelta) -> str:
    return str(timedelta(seconds=int(time.total_seconds())))
