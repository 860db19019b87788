"""Statistics: equal to a count by hand of what was told, and without a cell that points at somebody."""

from collections import Counter, defaultdict
from datetime import date, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.oversight.dossier import Dossier
from contracts.oversight.statistics import CELL_MIN, Observation, Row, count_month, observe, suppress
from devstack.agencies.year import Told
from tests.oversight.by_hand import JAKARTA, Month
from tests.oversight.year import RULES, read_facts, tell

MONTH = date(2025, 8, 1)
TOLD = tell(11, 900)
LATER = datetime(2026, 3, 1, tzinfo=JAKARTA)


def count(told: list[Told]) -> list[Row]:
    dossiers = [Dossier(name, facts) for name, facts in read_facts(told).items()]
    seen = [one for dossier in dossiers if (one := observe(dossier, RULES.book, LATER)) is not None]
    return count_month(seen, MONTH)


ROWS = {(row.figure, row.by, row.of): row.value for row in count(TOLD)}


BY_HAND = Month(TOLD, "2025-08")


def test_totals_equal_a_brute_force_count() -> None:
    by_hand = BY_HAND.totals("2025-08-31")
    shown = {
        name: ROWS["billed", "currency", "USD"] if name == "billed" else ROWS[name, "total", ""] for name in by_hand
    }
    assert {name: value for name, value in shown.items() if value is not None} == {
        name: value for name, value in by_hand.items() if shown[name] is not None
    }
    assert all(shown[name] for name in ("received", "decided", "pending", "stock", "workers", "billed"))


def test_each_table_equals_a_brute_force_count_where_it_is_shown() -> None:
    approved = [one for one in BY_HAND.of("ministry.permit.approved") if one.data["permit_kind"] == "new"]
    for by in ("nationality", "province", "kbli", "position_level"):
        counts = Counter(one.data[by] for one in approved)
        cells = {of: value for (figure, kind, of), value in ROWS.items() if (figure, kind) == ("flow_new", by)}
        assert cells.keys() == counts.keys()
        assert all(value in (None, str(counts[of])) for of, value in cells.items())
        assert all(value is None for of, value in cells.items() if counts[of] < CELL_MIN)
        assert any(value is not None for value in cells.values())


def test_the_order_of_files_changes_nothing() -> None:
    dossiers = [Dossier(name, facts[::-1]) for name, facts in reversed(read_facts(TOLD).items())]
    seen: list[Observation] = [one for dossier in dossiers if (one := observe(dossier, RULES.book, LATER)) is not None]
    assert {(row.figure, row.by, row.of): row.value for row in count_month(seen, MONTH)} == ROWS


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 40), max_size=8))
def test_small_cells_are_left_out_and_zeros_never(counts: dict[str, int]) -> None:
    shown = suppress(counts)
    hidden = {name for name, value in shown.cells.items() if value is None}
    assert all(value is None or value == 0 or value >= CELL_MIN for value in shown.cells.values())
    assert all(counts[name] > 0 for name in hidden)
    if not hidden:
        assert shown.total == sum(counts.values())


@pytest.mark.parametrize(("cells", "most"), [(1, 30), (2, 16), (3, 10), (4, 7)])
def test_nothing_that_is_left_out_follows_from_what_is_shown(cells: int, most: int) -> None:
    """Every table of so many cells: what is published of it leaves each hidden cell more than one possible value."""
    possible: dict[tuple[tuple[int | None, ...], int | None], list[tuple[int, ...]]] = defaultdict(list)
    for table in product(range(1, most + 1), repeat=cells):
        shown = suppress(dict(zip("abcd", table, strict=False)))
        possible[tuple(shown.cells.values()), shown.total].append(table)
    for (published, total), tables in possible.items():
        # Numbers beyond the ones that were tried could stand there as well, where no total says otherwise.
        hidden = [place for place, value in enumerate(published) if value is None] if total is not None else []
        assert all(len({table[place] for table in tables}) > 1 for place in hidden), (published, total)
