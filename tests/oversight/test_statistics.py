"""Statistics: equal to a count by hand of what was told, and without a cell that points at somebody."""

from collections import Counter
from datetime import date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from contracts.oversight.dossier import Dossier
from contracts.oversight.statistics import CELL_MIN, Observation, Row, count_month, observe, suppress
from devstack.agencies.year import Told
from tests.oversight.year import RULES, read_facts, tell

MONTH = date(2025, 8, 1)
TOLD = tell(11, 900)
JAKARTA = timezone(timedelta(hours=7))
LATER = datetime(2026, 3, 1, tzinfo=JAKARTA)


def count(told: list[Told]) -> list[Row]:
    dossiers = [Dossier(name, facts) for name, facts in read_facts(told).items()]
    seen = [one for dossier in dossiers if (one := observe(dossier, RULES.book, LATER)) is not None]
    return count_month(seen, MONTH)


ROWS = {(row.figure, row.by, row.of): row.value for row in count(TOLD)}


def of_month(name: str) -> list[Told]:
    """What was told of this kind in the month, counted without any of the code under test."""
    kind = f"id.tka.{name}.v1"
    return [one for one in TOLD if one.type == kind and f"{one.time.astimezone(JAKARTA):%Y-%m}" == "2025-08"]


def test_totals_equal_a_brute_force_count() -> None:
    received, refused = len(of_month("ministry.permit.submitted")), len(of_month("ministry.permit.rejected"))
    approved = of_month("ministry.permit.approved")
    kinds = Counter(one.data["permit_kind"] for one in approved)
    assert ROWS["received", "total", ""] == str(received)
    shown = {f"flow_{kind}": ROWS[f"flow_{kind}", "total", ""] for kind in kinds}
    assert shown == {f"flow_{kind}": str(number) for kind, number in kinds.items() if shown[f"flow_{kind}"]} | {
        name: None for name, value in shown.items() if value is None
    }
    assert ROWS["decided", "total", ""] == str(len(approved) + refused)
    decided = {one.key for one in TOLD if one.type.endswith(("permit.approved.v1", "permit.rejected.v1"))
               and f"{one.time.astimezone(JAKARTA):%Y-%m}" <= "2025-08"}  # fmt: skip
    asked = {one.key for one in TOLD if one.type.endswith("permit.submitted.v1")
             and f"{one.time.astimezone(JAKARTA):%Y-%m}" <= "2025-08"}  # fmt: skip
    assert ROWS["pending", "total", ""] == str(len(asked - decided))


def test_each_table_equals_a_brute_force_count_where_it_is_shown() -> None:
    approved = [one for one in of_month("ministry.permit.approved") if one.data["permit_kind"] == "new"]
    for by in ("nationality", "province", "kbli", "position_level"):
        counts = Counter(one.data[by] for one in approved)
        cells = {of: value for (figure, kind, of), value in ROWS.items() if (figure, kind) == ("flow_new", by)}
        assert cells.keys() == counts.keys()
        assert all(value in (None, str(counts[of])) for of, value in cells.items())
        assert all(value is None for of, value in cells.items() if counts[of] < CELL_MIN)
        assert any(value is not None for value in cells.values())


def test_stock_and_workers_are_counted_apart() -> None:
    last = "2025-08-31"
    granted = {one.key: one.data for one in TOLD if one.type.endswith("permit.approved.v1")
               and f"{one.time.astimezone(JAKARTA):%Y-%m-%d}" <= last}  # fmt: skip
    ended = {one.key for one in TOLD if one.type.endswith("permit.revoked.v1")
             and f"{one.time:%Y-%m-%d}" <= last}  # fmt: skip
    stock = [data for name, data in granted.items() if name not in ended and data["from"] <= last < data["until"]]
    assert ROWS["stock", "total", ""] == str(len(stock))
    assert ROWS["workers", "total", ""] == str(len({data["worker"] for data in stock}))


def test_money_equals_a_brute_force_sum() -> None:
    billed = sum(int(one.data["amount"][:-3]) for one in of_month("ministry.billing.issued"))
    assert ROWS["billed", "currency", "USD"] == f"{billed}.00"


def test_the_order_of_files_changes_nothing() -> None:
    dossiers = [Dossier(name, facts[::-1]) for name, facts in reversed(read_facts(TOLD).items())]
    seen: list[Observation] = [one for dossier in dossiers if (one := observe(dossier, RULES.book, LATER)) is not None]
    assert {(row.figure, row.by, row.of): row.value for row in count_month(seen, MONTH)} == ROWS


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 40), max_size=8))
def test_nothing_that_is_left_out_follows_from_what_is_shown(counts: dict[str, int]) -> None:
    shown = suppress(counts)
    hidden = {name for name, value in shown.cells.items() if value is None}
    assert all(value is None or value == 0 or value >= CELL_MIN for value in shown.cells.values())
    if not hidden:
        assert shown.total == sum(counts.values())
    elif shown.total is not None:
        rest = shown.total - sum(value for value in shown.cells.values() if value is not None)
        assert len(hidden) > 1
        assert rest >= CELL_MIN
    assert all(counts[name] > 0 for name in hidden)
