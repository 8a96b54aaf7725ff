"""Coverage of tags: every request and every dollar is with or without each tag; spellings that drift; who sends what has none."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.settings import Settings, Tags
from penstock.domain.bills.focus import FocusRow
from penstock.domain.ledger.entries import Entry
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.finops.statement import statement
from penstock.finops.tag_coverage import asked_tags, coverage_json, folded, lacks, tag_coverage, watched_tags
from penstock.finops.untagged_lines import Lines, untagged_json, untagged_lines
from tests.unit.finops.bill_books import DECEMBER, OCTOBER, Snapshot, records_of, runs, settings_of

QUERY = CostQuery(since_ns=OCTOBER, until_ns=DECEMBER)


def settings(**tags: Any) -> Settings:
    return msgspec.structs.replace(settings_of(), fleets={}, costs={}, tags=Tags(**tags))


def books(records: Sequence[UsageRecord], entries: Sequence[Entry] = (), given: Settings | None = None) -> Books:
    snapshot: Any = Snapshot(records, entries)
    return Books(given or settings(), Ledger(snapshot), DECEMBER, lambda fleet: None)


def record(id: str, cost: int | None = 10, **tags: str) -> UsageRecord:
    key, model = tags.pop("key_id", None), tags.pop("model", "large")
    return UsageRecord(
        id=id, admitted_ns=OCTOBER, endpoint="chat.completions", status=200, outcome="ok", model=model, key_id=key, tags=tags, cost=cost
    )


def test_what_carries_none_of_the_bills_tags_is_untagged() -> None:
    found = tag_coverage(
        books([record("a", team="search"), record("b", 20), record("c", 30, team=""), record("d", feature="answers")]), QUERY
    )
    assert (found.untagged_requests, found.untagged_cost) == (2, 50)
    team = next(tag for tag in found.tags if tag.tag == "team")
    assert (team.requests_with, team.requests_without, team.cost_with, team.cost_without, team.values) == (1, 3, 10, 60, 1)
    assert "none of the tags that bills are split by (team, feature)" in str(coverage_json(found)["untagged"])


def test_a_required_tag_is_asked_of_every_request() -> None:
    given = settings(required=("team",))
    found = tag_coverage(books([record("a", team="search"), record("b", 20, feature="answers")], given=given), QUERY)
    assert (found.untagged_requests, found.untagged_cost, found.required) == (1, 20, True)


def test_a_required_tag_of_ones_own_is_looked_at_where_that_is_affordable() -> None:
    given = settings(declared=("team", "project", "user"), required=("project",))
    kept = books([record("a", project="x"), record("b", team="search")], given=given)
    assert tag_coverage(kept, QUERY, every=True).untagged_requests == 1
    assert tag_coverage(kept, QUERY).not_summed == ("project", "user")
    assert watched_tags(given, every=True) == ("project", "team")


def test_what_the_config_says_is_asked_of_nobody() -> None:
    given = settings(declared=("model", "optimization", "sla"), required=("model", "sla"))
    assert asked_tags(given, watched_tags(given, every=True)) == ("sla",)


def test_untagged_recorded_runs_are_untagged_spend() -> None:
    run = Entry(
        id="r",
        kind="training_run",
        name="r",
        since_ns=OCTOBER,
        until_ns=OCTOBER + 10,
        recorded_ns=OCTOBER,
        gpu_cost=500,
        tags={"feature": "x"},
    )
    found = tag_coverage(books([record("a", team="search")], [run]), QUERY)
    assert next(tag for tag in found.tags if tag.tag == "team").cost_without == 500
    assert found.untagged_cost == 0
    assert next(tag for tag in found.tags if tag.tag == "workload_type").cost_with == 500


def test_senders_are_named_by_what_they_send() -> None:
    records = [record(f"a{n}", key_id="key_1") for n in range(3)] + [record("b", model="small"), record("c", team="search")]
    found = tag_coverage(books(records), QUERY)
    assert [(each.key_id, each.model, each.requests) for each in found.senders] == [("key_1", "large", 3), (None, "small", 1)]
    assert found.looked_at == 5
    assert tag_coverage(books(records), QUERY, look_at=2).looked_at == 2


@pytest.mark.parametrize(
    ("one", "other"), [("Search", "search"), ("search-team", "search_team"), ("search team", "SearchTeams"), ("s", "S"), ("-", "-")]
)
def test_spellings_that_are_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("search", "research"), ("a", "b"), ("-", "_"), ("team1", "team2"), ("s", "")])
def test_spellings_that_are_not(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_drift_names_every_spelling_with_its_cost() -> None:
    records = [record("a", 1, team="Search"), record("b", 2, team="search"), record("c", 4, team="search"), record("d", team="legal")]
    [drift] = tag_coverage(books(records), QUERY).drift
    assert (drift.tag, [(each.value, each.requests, each.cost) for each in drift.spellings]) == (
        "team",
        [("search", 2, 6), ("Search", 1, 1)],
    )


@given(carried=st.sets(st.sampled_from("abc")), asked=st.lists(st.sampled_from("abc"), unique=True))
def test_whoever_lacks_one_of_all_lacks_a_required_one(carried: set[str], asked: list[str]) -> None:
    assert lacks(carried, asked, required=True) or not lacks(carried, asked, required=False)
    assert not lacks(carried, (), required=True)


@given(records=st.lists(records_of(), max_size=20), entries=st.lists(runs, max_size=3))
def test_every_dollar_is_with_or_without_each_tag(records: list[UsageRecord], entries: list[Entry]) -> None:
    kept = books(records, entries)
    usage = sum(row.usage for row in statement(kept, QUERY).rows)
    requests = sum(1 for each in records if each.outcome != "refused" and each.purpose is None)
    for tag in tag_coverage(kept, QUERY).tags:
        assert tag.cost_with + tag.cost_without == usage
        assert tag.requests_with + tag.requests_without == requests


class Bill:
    """A `BillSource` over rows."""

    report: Any = None

    def __init__(self, rows: Sequence[FocusRow]) -> None:
        self._rows = rows

    def rows(self) -> Any:
        return iter(self._rows)

    def progress(self) -> tuple[int, int]:
        return 0, 0


def line(cost: str | None, tags: dict[str, object] | None = None, **more: Any) -> FocusRow:
    given = {"service_name": "GPU", "billing_currency": "USD", "charge_category": "Usage"} | more
    return FocusRow(effective_cost=None if cost is None else Decimal(cost), tags=tags, **given)


def test_lines_of_a_bill_without_tags_by_service_and_currency() -> None:
    found = untagged_lines(
        Bill(
            [
                line("1.5"),
                line("2", {}),
                line("4", {"team": ""}),
                line("8", {"team": "search"}),
                line(None, billed_cost=Decimal(16), service_name="Storage"),
                line("32", billing_currency="EUR"),
                line("64", charge_category="Tax"),
                line(None, service_name=None),
            ]
        )
    )
    assert found.untagged == {"USD": Lines(5, Decimal("23.5")), "EUR": Lines(1, Decimal(32))}
    assert found.whole["USD"] == Lines(6, Decimal("31.5"))
    assert found.apart == 1
    services = [(currency, service, lines.count) for currency, service, lines in found.services]
    assert services == [("EUR", "GPU", 1), ("USD", "Storage", 1), ("USD", "GPU", 3), ("USD", "unknown", 1)]
    assert untagged_json(found)["apart"] == 1
