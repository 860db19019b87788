"""The months on their pages: charts that say what the tables say, and numbers that name what they rest on."""

import csv
import io
import re

import pytest

from contracts.oversight.statistics import Row
from hub.accounts import Role
from hub.web.pages.charts import BARS_MAX, draw_bars, draw_columns
from tests.pages.hall import MONTHS, Hall, count_months

pytestmark = pytest.mark.anyio


async def test_the_newest_month_that_is_over_is_shown_with_its_charts(hall: Hall) -> None:
    page = await (await hall.browser_of(None)).get("/statistics")
    month = count_months()[0][-2]
    assert "November 2025" in page.text
    assert month.log_root in page.text
    assert month.rule_sets in page.text
    assert page.text.count('<svg class="chart"') == page.text.count("</desc>") == 5
    assert "China" in page.text
    assert "DKI Jakarta" in page.text
    assert f"statistics packs --month {month.month:%Y-%m}" in page.text


async def test_a_month_that_is_not_over_says_so_and_shows_no_parts(hall: Hall) -> None:
    browser = await hall.browser_of(None)
    page = await browser.get("/statistics", params={"month": "2025-12"})
    assert "This month is not over" in page.text
    assert "by-nationality" not in page.text
    rows = (await browser.get("/statistics.json", params={"month": "2025-12"})).json()["figures"]
    assert {row["final"] for row in rows} == {False}
    assert not {row["by"] for row in rows} & {"nationality", "kbli", "province", "position_level"}


async def test_csv_and_json_hold_what_the_hub_counted(hall: Hall) -> None:
    browser = await hall.browser_of(None)
    month = count_months()[0][-2]
    table = await browser.get("/statistics.csv", params={"month": "2025-11"})
    assert table.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["figure"], row["by"], row["of"], row["value"] or None) for row in read] == month.rows
    assert {row["log_root"] for row in read} == {month.log_root}
    query = {"month": "2025-11", "figure": "stock", "by": "province"}
    part = (await browser.get("/statistics.json", params=query)).json()["figures"]
    assert [(row["figure"], row["by"], row["of"], row["value"]) for row in part] == [
        row for row in month.rows if (row.figure, row.by) == ("stock", "province")
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [({"month": "2025-13"}, 400), ({"month": "x"}, 400), ({"month": "1999-01"}, 404), ({"figure": "names"}, 400)],
)
async def test_what_was_never_counted_is_not_shown(hall: Hall, query: dict[str, str], status: int) -> None:
    assert (await (await hall.browser_of(None)).get("/statistics", params=query)).status_code == status


async def test_the_ministers_numbers_each_name_checkpoint_and_rules(hall: Hall) -> None:
    page = await (await hall.browser_of(Role.MINISTER)).get("/minister")
    months = count_months()[0]
    assert len(months) == len(MONTHS)
    for month in months:
        assert month.log_root in page.text
    assert page.text.count(months[0].rule_sets) == len(months)
    received = next(row.value for row in months[-2].rows if row.figure == "received")
    assert re.search(rf"<dt>Received</dt><dd>\s*{received}", page.text)


def test_bars_are_as_long_as_their_values_say() -> None:
    rows = [Row("stock", "kbli", f"{code:05}", str(10 * code)) for code in range(1, 15)]
    drawn = draw_bars([*rows, Row("stock", "kbli", "99999", None)])
    assert len(drawn.bars) == BARS_MAX
    assert (drawn.number, drawn.hidden) == (15, 1)
    lengths = [bar.length / (bar.value or 0) for bar in drawn.bars]
    assert max(lengths) - min(lengths) < 0.01
    assert draw_bars([]).bars == []


def test_columns_of_what_is_left_out_have_no_height() -> None:
    columns = draw_columns([(100, None), (50, 25)])
    assert [column.heights for column in columns] == [(150.0, 0.0), (75.0, 37.5)]
    assert columns[1].x > columns[0].x
