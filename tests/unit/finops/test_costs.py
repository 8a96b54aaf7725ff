"""The cost report: conserved to the nano-dollar, wherever a record lies, and honest about what is unknown."""

import csv
import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.grouping import matches
from penstock.domain.ledger.measures import Sums, sums_of
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.costs import QueryError, cost_query, cost_report, report_csv, report_json
from penstock.finops.window import window
from tests.unit.finops.ledgers import EVER, SECOND, Ledger, usage_records

KEYS = st.lists(st.sampled_from(["team", "feature", "model", "upstream", "cache", "outcome", "day", "status"]), unique=True, max_size=3)


def record(number: int = 0, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {
        "id": f"r{number}",
        "admitted_ns": number * SECOND,
        "endpoint": "chat.completions",
        "status": 200,
        "outcome": "ok",
    }
    return UsageRecord(**given | fields)


def figures(*records: UsageRecord, by: tuple[str, ...] = ("team",)) -> dict[str, Any]:
    found = report_json(cost_report(Ledger(records), [], msgspec.structs.replace(EVER, by=by)))
    return msgspec.json.decode(msgspec.json.encode(found), type=dict[str, Any])


@given(st.lists(usage_records(), max_size=25), st.integers(0, 25), KEYS, st.integers(0, 400), st.sampled_from([(), (("team", "search"),)]))
def test_rows_add_up_to_the_records_wherever_these_lie(
    records: list[UsageRecord], stored: int, by: list[str], since_hour: int, where: tuple[tuple[str, str], ...]
) -> None:
    query = msgspec.structs.replace(EVER, by=tuple(by), since_ns=since_hour * 3600 * SECOND, where=where)
    split = cost_report(Ledger(records[:stored]), records[stored:], query)
    whole = cost_report(Ledger(records), [], query)
    direct = Sums()
    for each in records:
        if matches(each, query):
            direct.add(sums_of(each))
    assert split.total == direct
    assert (split.rows, split.coverage.unpriced_models) == (whole.rows, whole.coverage.unpriced_models)
    assert split.coverage.journal_tail == sum(matches(each, query) for each in records[stored:])
    shown = report_json(split)
    rows: Any = shown["rows"]
    total: Any = shown["total"]
    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) == Decimal(total["cost_usd"] or 0)
    assert sum(row["tokens"]["reasoning"] for row in rows) == total["tokens"]["reasoning"]
    assert sum(row["refused"] for row in rows) == total["refused"]
    assert [list(row)[: len(by)] for row in rows] == [by] * len(rows)


def test_the_words_of_a_row() -> None:
    shown = figures(
        record(1, tags={"team": "search"}, tokens=Tokens(100, 20, 3, 40, 5), cost=123456789, counterfactual=200000000),
        record(2, tags={"team": "search"}, cache="exact", recalled=Tokens(100, 0, 0, 40, 0), cost=0, counterfactual=200000000),
        record(3, tags={"team": "search"}, outcome="refused", status=402),
    )
    row = {
        "requests": 2,
        "refused": 1,
        "failed": 0,
        "cache_hits": 1,
        "input_tokens": 123,
        "output_tokens": 45,
        "tokens": {"uncached_input": 100, "cache_read": 20, "cache_write": 3, "visible_output": 40, "reasoning": 5},
        "recalled_tokens": {"input": 100, "output": 40},
        "cost_usd": "0.123456789",
        "counterfactual_usd": "0.400000000",
        "saved_usd": "0.276543211",
        "cp1kt_usd": "0.734861839",
        "priced_requests": 2,
        "estimated_requests": 0,
        "compared_requests": 2,
        "asides": 0,
        "aside_usd": "0.000000000",
        "unpriced_asides": 0,
    }
    assert shown["rows"] == [{"team": "search"} | row]
    assert shown["total"] == row


def test_calls_beside_requests_cost_and_count_apart() -> None:
    beside = {"parent": "r1", "tokens": Tokens(10, 0, 0, 5, 0), "model": "small"}
    records = (
        record(1, tokens=Tokens(10, 0, 0, 5, 0), cost=100, counterfactual=300),
        record(2, purpose="draft", cost=20, **beside),
        record(3, purpose="shadow", **beside),
        record(4, purpose="shadow", outcome="error", cost=7, **beside),
    )
    shown = figures(*records, by=("purpose",))
    rows = {row["purpose"]: row for row in shown["rows"]}
    assert [(row["requests"], row["asides"], row["cost_usd"]) for row in (rows[None], rows["draft"], rows["shadow"])] == [
        (1, 0, "0.000000100"), (0, 1, "0.000000020"), (0, 2, "0.000000007")
    ]  # fmt: skip
    assert (rows["draft"]["saved_usd"], rows["shadow"]["failed"], rows["shadow"]["unpriced_asides"]) == ("-0.000000020", 0, 1)
    assert (shown["total"]["cost_usd"], shown["total"]["saved_usd"]) == ("0.000000127", "0.000000173")
    coverage = shown["coverage"]
    assert (coverage["requests"], coverage["priced_requests"], coverage["unpriced_requests"]) == (1, 1, 0)
    assert (coverage["asides"], coverage["unpriced_asides"], coverage["priced_share"]) == (4 - 1, 1, 0.75)
    assert coverage["unpriced_models"] == [{"model": "small", "requests": 1}]
    assert coverage["tagged_share"] == {}, "that it answers a request is no gap in what is known of it"
    unknown = figures(record(5, purpose="shadow", **beside))["total"]
    assert (unknown["cost_usd"], unknown["aside_usd"], unknown["cp1kt_usd"]) == (None, None, None)


def test_unknown_is_null_and_never_zero() -> None:
    shown = figures(
        record(1, tags={"team": "a"}, model="new", tokens=Tokens(10, 0, 0, 5, 0)),
        record(2, tags={"team": "b"}, model="old", tokens=Tokens(10, 0, 0, 5, 0), cost=30),
        record(3, tags={"team": "b"}, model="new", tokens=Tokens(99, 0, 0, 99, 0)),
        record(4, tokens=Tokens(10, 0, 0, 5, 0), cost=7, counterfactual=9, cost_basis="estimated"),
    )
    by_team = {row["team"]: row for row in shown["rows"]}
    assert [row["team"] for row in shown["rows"]] == ["b", None, "a"]
    unpriced = by_team["a"]
    assert (unpriced["cost_usd"], unpriced["counterfactual_usd"], unpriced["saved_usd"], unpriced["cp1kt_usd"]) == (None, None, None, None)
    partly = by_team["b"]
    assert (partly["cost_usd"], partly["priced_requests"], partly["cp1kt_usd"]) == ("0.000000030", 1, "0.000002000")
    assert (partly["counterfactual_usd"], partly["saved_usd"]) == (None, None)
    assert by_team[None]["saved_usd"] == "0.000000002"
    assert (shown["total"]["cost_usd"], shown["total"]["saved_usd"]) == ("0.000000037", "0.000000002")
    coverage = shown["coverage"]
    assert coverage["unpriced_models"] == [{"model": "new", "requests": 2}]
    assert (coverage["priced_share"], coverage["unpriced_requests"], coverage["estimated_requests"]) == (0.5, 2, 1)
    assert coverage["tagged_share"] == {"team": 0.75}
    assert coverage["latest_record"] == "1970-01-01T00:00:04Z"


def test_a_share_is_whole_only_when_it_is() -> None:
    report = cost_report(Ledger([]), [], EVER)
    assert report.coverage.priced_share is None
    many = [record(number, cost=None if number == 0 else 1) for number in range(3)]
    assert figures(*many)["coverage"]["priced_share"] == 0.666666


def test_nothing_in_the_ledger_is_a_true_zero() -> None:
    shown = figures()
    assert shown["rows"] == []
    assert (shown["total"]["requests"], shown["total"]["cost_usd"], shown["total"]["cp1kt_usd"]) == (0, "0.000000000", None)


def test_refused_requests_cost_nothing_and_that_is_known() -> None:
    total = figures(record(1, outcome="refused", status=401))["total"]
    assert (total["requests"], total["refused"], total["cost_usd"]) == (0, 1, "0.000000000")


def test_grouped_by_time_rows_come_in_time_order() -> None:
    day = 86_400 * SECOND
    shown = figures(record(1, cost=1), record(2, admitted_ns=2 * day, cost=5), record(3, admitted_ns=day, cost=9), by=("day",))
    assert [row["day"] for row in shown["rows"]] == ["1970-01-01", "1970-01-02", "1970-01-03"]


def test_several_keys_are_fields_of_their_own() -> None:
    shown = figures(record(1, model="m", tags={"team": "a"}, sla="critical"), by=("team", "model", "sla", "status"))
    assert [shown["rows"][0][key] for key in ("team", "model", "sla", "status")] == ["a", "m", "critical", "200"]


def test_keys_have_one_spelling() -> None:
    query = cost_query(window(None, None, now_ns=10**18), ["Cost-Center", "sla-tier", "sla"], ["sla-tier=critical", "team=a=b"])
    assert (query.by, query.where) == (("cost_center", "sla"), (("sla", "critical"), ("team", "a=b")))


@pytest.mark.parametrize(("by", "where"), [(["cost_usd"], []), ([""], []), (["team"], ["search"]), (["team"], ["=x"])])
def test_a_query_that_cannot_be_read_is_refused_with_a_hint(by: list[str], where: list[str]) -> None:
    with pytest.raises(QueryError) as caught:
        cost_query(window(None, None, now_ns=10**18), by, where)
    assert caught.value.hint


def test_csv_has_the_figures_and_runs_nothing() -> None:
    records = [record(1, tags={"team": "=cmd()"}, cost=5, tokens=Tokens(1, 2, 3, 4, 5)), record(2, tags={"team": 'a,"b"\n'})]
    rows = list(csv.DictReader(io.StringIO(report_csv(cost_report(Ledger(records), [], msgspec.structs.replace(EVER, by=("team",)))))))
    assert [(row["team"], row["cost_usd"], row["reasoning"]) for row in rows] == [("'=cmd()", "0.000000005", "5"), ('a,"b"\n', "", "0")]


def test_requests_that_own_hours_pay_for_are_not_unpriced() -> None:
    shown = figures(
        record(1, model="own", fleet="l40s", tokens=Tokens(10, 0, 0, 5, 0)),
        record(2, model="own", fleet="l40s", tokens=Tokens(10, 0, 0, 5, 0)),
        record(3, model="big", cost=7),
        record(4, model="new"),
    )
    coverage = shown["coverage"]
    assert coverage["unpriced_models"] == [{"model": "new", "requests": 1}]
    assert (coverage["priced_requests"], coverage["unbooked_requests"], coverage["unpriced_requests"]) == (1, 2, 1)
    assert coverage["priced_share"] == 0.75
