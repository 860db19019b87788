"""What a connector shows of itself: as JSON for probes, as a page for people. Counts and names, nothing of a person."""

import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connectors.link.clock import Clock
from connectors.link.day_counts import DayCounts
from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool, SpoolStatus
from connectors.link.subscriber import Subscriber
from connectors.link.trust import Trust
from contracts.wire.instant import write_instant

#: Beyond this share of the exchange's clock skew the clock is worth a word.
SKEW_SHARE_NOTED = 0.5
CORRECTIONS_SHOWN_MAX = 50
DAYS_SHOWN_MAX = 14

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}"
    "table{border-collapse:collapse;margin:0 0 2rem}"
    "caption{text-align:left;font-weight:600;padding:.3rem 0}"
    "td,th{border:1px solid #bbb;padding:.2rem .6rem;text-align:left}"
    ".note{background:#fde8e8;padding:.4rem .8rem;margin:.3rem 0}"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the status page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What an agency's own code adds: sentences that ask for somebody's attention, and tables."""

    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


Show = Callable[[], Awaitable[Shown]]


async def show_nothing() -> Shown:
    """Add nothing."""
    return Shown()


class StatusBoard:
    """Gathers what is to be shown."""

    def __init__(
        self,
        participant: str,
        spool: Spool,
        trust: Trust,
        metrics: LinkMetrics,
        subscriber: Subscriber,
        clock: Clock,
        show: Show = show_nothing,
        counts: DayCounts | None = None,
    ) -> None:
        self._participant = participant
        self._spool = spool
        self._trust = trust
        self._metrics = metrics
        self._subscriber = subscriber
        self._clock = clock
        self._show = show
        self._counts = counts

    async def measure(self) -> None:
        """Set the gauges that are read only when somebody asks."""
        self._metrics.show_spool(await self._spool.status(), await self._spool.refusals())
        await self._show()

    async def readiness(self) -> dict[str, Any]:
        """Return what /readyz shows.

        A stopped stream or an unreachable broker is shown but does not make the connector unready: the agency's facts
        must still find the spool's door open.
        """
        state = await self._spool.status()
        shown = await self._show()
        return {
            "ready": state.bytes_used < state.bytes_max,
            "notes": [*self._own_notes(state), *shown.notes],
            "registry_version": self._trust.registry.version,
            "spool": _spool_figures(state),
            "streams": await self._places(),
            "stopped_streams": dict(self._subscriber.stopped),
            "refusals": await self._spool.refusals(),
            "to_correct": [asked.event_id for asked in await self._spool.corrections(CORRECTIONS_SHOWN_MAX)],
            "clock_offset_s": _seconds(self._metrics.clock_offset),
            "last_seen": {what: write_instant(at) for what, at in sorted(self._metrics.last_seen.items())},
        }

    async def _places(self) -> dict[str, int]:
        streams = self._subscriber.streams()
        return {
            f"{each.topic}/{each.partition}": await self._spool.position(each.topic, each.partition) for each in streams
        }

    def _own_notes(self, state: SpoolStatus) -> list[str]:
        notes = [*self._metrics.notes.values(), *self._subscriber.stopped.values()]
        if state.bytes_used >= state.bytes_max:
            notes.append("The spool is full (SPOOL_BYTES_MAX): nothing is taken until the hub's receipts come.")
        offset, skew_s = self._metrics.clock_offset, self._trust.registry.limits.clock_skew_s
        if offset is not None and abs(offset) > timedelta(seconds=skew_s * SKEW_SHARE_NOTED):
            notes.append(f"This machine's clock differs from the hub's by {_seconds(offset)} s: set it right.")
        return notes

    async def _count_rows(self) -> tuple[tuple[str, ...], ...]:
        """Return the newest days as the hub counts them, and whether this spool counts the same."""
        known = [] if self._counts is None else await self._counts.known()
        return tuple(
            (
                each.day,
                str(each.hub.accepted),
                str(sum(each.hub.refused.values())),
                each.words or each.verdict or "not yet",
            )
            for each in known[-DAYS_SHOWN_MAX:]
        )

    async def page(self) -> str:
        """Return the status page, in HTML."""
        state, found, shown = await self._spool.status(), await self.readiness(), await self._show()
        now = self._clock()
        refusals = tuple((code, str(count)) for code, count in found["refusals"].items())
        seen = tuple((what, write_instant(at), _age(now, at)) for what, at in sorted(self._metrics.last_seen.items()))
        asked = tuple(
            (one.event_id, one.native_key, one.code, one.note, write_instant(one.asked_at))
            for one in await self._spool.corrections(CORRECTIONS_SHOWN_MAX)
        )
        tables = [
            Table("Last seen", ("what", "at", "ago"), seen),
            Table("Spool", ("figure", "value"), _spool_rows(state, now)),
            Table("Refusals by code", ("code", "messages"), refusals),
            Table("To be corrected", ("message", "fact", "refused for", "what is wrong", "asked at"), asked),
            Table("Streams", ("stream", "handled up to"), _rows(found["streams"])),
            Table("Daily counts", ("day", "accepted", "refused", "compared"), await self._count_rows()),
            Table("Clock", ("figure", "value"), (("offset to the hub's, s", str(found["clock_offset_s"])),)),
            *shown.tables,
        ]
        return _write_page(f"Connector of {self._participant}", found["notes"], tables)


def _spool_figures(state: SpoolStatus) -> dict[str, Any]:
    return {
        "waiting": state.waiting,
        "signed": state.signed,
        "sent": state.sent,
        "accepted": state.accepted,
        "refused": state.refused,
        "set_aside": state.aside,
        "last_sequence": state.last_sequence,
        "bytes_used": state.bytes_used,
        "bytes_max": state.bytes_max,
        "oldest_unsent": None if state.oldest_unsent is None else write_instant(state.oldest_unsent),
        "oldest_unreceipted": None if state.oldest_unreceipted is None else write_instant(state.oldest_unreceipted),
        "journal_mode": state.journal_mode,
        "synchronous": state.synchronous,
    }


def _spool_rows(state: SpoolStatus, now: datetime) -> tuple[tuple[str, str], ...]:
    return (
        ("depth: not sent yet", str(state.waiting + state.signed)),
        ("sent, no receipt yet", str(state.sent)),
        ("oldest unsent", "none" if state.oldest_unsent is None else _age(now, state.oldest_unsent)),
        (
            "oldest without a receipt",
            "none" if state.oldest_unreceipted is None else _age(now, state.oldest_unreceipted),
        ),
        ("accepted", str(state.accepted)),
        ("refused", str(state.refused)),
        ("set aside", str(state.aside)),
        ("last sequence", str(state.last_sequence)),
        ("bytes", f"{state.bytes_used} of {state.bytes_max}"),
    )


def _rows(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items())


def _seconds(offset: timedelta | None) -> float | None:
    return None if offset is None else round(offset.total_seconds(), 1)


def _age(now: datetime, at: datetime) -> str:
    return str(timedelta(seconds=max(0, int((now - at).total_seconds()))))


def _write_page(title: str, notes: Sequence[str], tables: Sequence[Table]) -> str:
    told = "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{told or '<p>All is well.</p>'}"
        f"{''.join(map(_write_table, tables))}</body></html>"
    )


def _write_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    empty = f'<tr><td colspan="{len(table.columns)}">none</td></tr>'
    return f"<table><caption>{html.escape(table.title)}</caption><tr>{head}</tr>{rows or empty}</table>"
