"""The page Costs, built from records: its rows add up, its sentence is true, and it leads where it says."""

from contextlib import nullcontext
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from penstock.config.settings import Settings
from penstock.console.context import Context
from penstock.console.costs import Costs, build, drill, sheet
from penstock.console.periods import period_words
from penstock.console.query import Address, read_address
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.book import PriceBook
from penstock.finops.budgets.history import Histories
from penstock.finops.costs import QueryError
from tests.unit.console.papers import NO_PAPERS
from tests.unit.finops.ledgers import Ledger

DAY_NS = 86_400 * 10**9
NOW_NS = 1_795_262_400 * 10**9


class NoJournal:
    """A journal on which nothing waits."""

    def read(self, offsets: dict[str, int], limit: int = 5000) -> Any:
        return iter(())

    def discard(self, segment: str) -> None:
        raise AssertionError("a page discards nothing")


def record(number: int, days_ago: float, cost: int | None, **tags: str) -> UsageRecord:
    return UsageRecord(
        id=f"r{number}", admitted_ns=NOW_NS - int(days_ago * DAY_NS), endpoint="chat.completions", status=200, outcome="ok",
        tags=tags, tokens=Tokens(1000, 0, 0, 1000, 0), cost=cost, counterfactual=None if cost is None else 2 * cost,
    )  # fmt: skip


RECORDS = [
    record(1, 1, 3_000_000_000, team="search", feature="rank"),
    record(2, 2, 1_000_000_000, team="coding"),
    record(3, 3, None, team="coding"),
    record(4, 9, 5_000_000_000, team="coding"),
    record(5, 20, 100, team="old"),
]


def page(text: str, records: list[UsageRecord] = RECORDS, ledger: type[Ledger] = Ledger) -> tuple[Costs, Address]:
    address = read_address("/costs", text, now_ns=NOW_NS, timezone="UTC", since="30d", by=("team",))
    with nullcontext(ledger(records)) as snapshot:
        context = Context(
            Settings(version=1),
            snapshot,
            NoJournal(),
            lambda: PriceBook({}),
            runs=lambda fleet: None,
            price_source="none",
            gauges={},
            papers=NO_PAPERS,
            histories=Histories(),
            now_ns=NOW_NS,
        )
        return build(context, address), address


def test_the_dearest_is_named_and_compared() -> None:
    view, _ = page("since=7d")
    assert view.answer == (
        "\u201csearch\u201d spends most: $3 of $4 in the last 7 days (75\u202f%). "
        "All in all that is $1 less than in the 7 days before. 1 request without a price come on top."
    )
    assert [(row.keys["team"], row.borne_usd, row.change_usd) for row in view.rows] == [
        ("search", "3.000000000", "3.000000000"), ("coding", "1.000000000", "-4.000000000"),
    ]  # fmt: skip
    assert view.total.borne_cp1kt_usd == "1.000000000"


def test_without_a_window_before_nothing_is_compared() -> None:
    view, _ = page("since=2026-11")
    assert not view.compared and "before" not in view.answer
    assert {row.before_usd for row in (*view.rows, view.total)} == {row.change_usd for row in view.rows} == {None}


@pytest.mark.parametrize(("sort", "first"), [("name", "coding"), ("requests", "coding"), ("change", "search"), ("saved", "search")])
def test_rows_in_the_order_asked_for(sort: str, first: str) -> None:
    assert page(f"since=7d&sort={sort}")[0].rows[0].keys["team"] == first


def test_an_order_that_is_none() -> None:
    with pytest.raises(QueryError, match="no order `colour`"):
        page("sort=colour")


def test_a_row_leads_one_level_deeper() -> None:
    view, address = page("since=7d")
    deeper = drill(address, view.rows[0])
    assert deeper == "/costs?since=7d&by=feature&where=team%3Dsearch"
    assert drill(address, page("since=7d&by=feature")[0].rows[-1]) is None, "nothing equals unknown"
    view, address = page("since=7d&by=day")
    assert drill(address, view.rows[0]) == f"/costs?since=7d&by=team&where=day%3D{view.rows[0].keys['day']}"


def test_the_csv_holds_every_row() -> None:
    view, address = page("by=team,feature")
    table = sheet(view, address)
    rows = [list(row) for row in table.rows]
    assert list(table.header[:3]) == ["team", "feature", "requests"]
    assert len(rows) == len(view.rows) == 3
    assert rows[0][:3] == ["coding", None, 3]


def test_nobody_in_an_empty_window() -> None:
    view, _ = page("", [])
    assert view.answer == "Nobody: no request was answered in the last 30 days."
    assert view.total.borne_usd == "0.000000000" and view.total.borne_cp1kt_usd is None


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("since=7d", "in the last 7 days"), ("since=1h", "in the last 1 hour"), ("since=1.5d", "in the last 1.5d"),
        ("since=2026-10-02&until=2h", "from 2026-10-02 until 2h"), ("since=2026-10", "in October 2026"),
        ("since=2026-10-02", "since 2026-10-02"), ("since=2026-10-02T10:00:00Z", "since 2 Oct 10:00"),
        ("since=2026-10-02&until=2026-10-05", "from 2026-10-02 until 2026-10-05"),
    ],
)  # fmt: skip
def test_a_window_in_a_sentence(query: str, said: str) -> None:
    assert period_words(read_address("/costs", query, now_ns=NOW_NS, timezone="UTC", since="30d")) == said


class Counted(Ledger):
    """Remembers by which keys it was asked."""

    asked: ClassVar[list[CostQuery]] = []

    def sums(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Sums]]:
        self.asked.append(query)
        return super().sums(query)


@pytest.mark.parametrize("text", ["since=7d&by=user", "since=7d&by=team,user&idle=even", "since=7d&by=day,user"])
def test_what_reads_every_record_does_so_once(text: str) -> None:
    Counted.asked.clear()
    view, _ = page(text, ledger=Counted)
    assert [query.by for query in Counted.asked if "user" in query.by] == [tuple(text.partition("by=")[2].partition("&")[0].split(","))]
    assert not view.compared and {row.trend_usd for row in view.rows} == {None}
    assert view.uncompared == (
        "" if "day" in text else "The window before this one is not compared with: that would read every record of it, too."
    )


def test_other_keys_have_trends_that_add_up_and_are_compared() -> None:
    Counted.asked.clear()
    view, _ = page("since=7d", ledger=Counted)
    assert view.compared and not view.uncompared
    assert {("team",), ("team", "day")} <= {query.by for query in Counted.asked}
    for row in view.rows:
        assert row.trend_usd is not None and sum(map(Decimal, row.trend_usd)) == Decimal(row.borne_usd or 0)
    assert len(Counted.asked) == len(set(Counted.asked)), "nothing is asked twice"


def test_a_rule_that_is_none() -> None:
    with pytest.raises(QueryError, match="is no rule"):
        page("idle=never")


def test_groups_of_refusals_alone_are_no_rows() -> None:
    refused = UsageRecord(
        id="x", admitted_ns=NOW_NS - DAY_NS, endpoint="chat.completions", status=402, outcome="refused", tags={"team": "poor"}
    )
    assert [row.keys["team"] for row in page("since=7d", [*RECORDS, refused])[0].rows] == ["search", "coding"]
