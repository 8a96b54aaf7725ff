"""Trends: two equal halves that add up to the whole, what came new, growth of spend and usage, concentration, latency per dollar."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.trend_lines import print_trends
from penstock.config.settings import Objective
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Entry
from penstock.domain.ledger.latency import BOUNDS_US, Histogram, Latency, bucket_of, latency_of
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import Duration
from penstock.finops.books import Books
from penstock.finops.latency_value import within
from penstock.finops.ledger import Ledger
from penstock.finops.statement import statement
from penstock.finops.trend_report import TrendReport, trend_report, trends_json
from penstock.finops.trends import growth, halves, training_hours
from tests.unit.finops.bill_books import DECEMBER, OCTOBER, Snapshot, records_of, runs, settings_of

DAY = 24 * HOUR_NS
END = OCTOBER + 4 * DAY
QUERY = CostQuery(since_ns=OCTOBER, until_ns=END)


def books(
    records: Sequence[UsageRecord], entries: Sequence[Entry] = (), now_ns: int = END, objectives: dict[str, Objective] | None = None
) -> Books:
    snapshot: Any = Snapshot(records, entries)
    given = msgspec.structs.replace(settings_of(), fleets={}, costs={}, objectives=objectives or {})
    return Books(given, Ledger(snapshot), now_ns, lambda fleet: None)


def record(id: str, day: int, cost: int | None = 10, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {
        "endpoint": "chat.completions",
        "status": 200,
        "outcome": "ok",
        "model": "large",
        "tokens": Tokens(10, 0, 0, 10, 0),
    }
    return UsageRecord(id=id, admitted_ns=OCTOBER + day * DAY, cost=cost, **given | fields)


def report(records: Sequence[UsageRecord], entries: Sequence[Entry] = (), query: CostQuery = QUERY, **objectives: Objective) -> TrendReport:
    found = trend_report(books(records, entries, objectives=objectives), query)
    assert found is not None
    return found


def test_a_version_that_halves_the_cost_per_request() -> None:
    found = report([record("a", 0, 40, model_version="1"), record("b", 1, 40, model_version="1"), record("c", 3, 20, model_version="1")])
    [row] = [row for row in found.trends if row.key == "model_version"]
    assert (row.value, row.requests_before, row.requests_after, row.change) == ("1", 2, 1, Decimal("-0.5"))
    assert row.before is not None and row.before.usd_per_request == Decimal("0.000000040")


def test_a_side_without_requests_is_no_comparison() -> None:
    found = report([record("a", 0, optimization="int4"), record("b", 3, optimization=None)])
    rows = {row.value: row for row in found.trends if row.key == "optimization"}
    assert rows["int4"].after is None
    assert rows["int4"].change is None
    assert rows[None].before is None


def test_what_came_new_is_compared_with_its_model_before() -> None:
    found = report(
        [
            record("a", 0, 90, model_version="1"),
            record("b", 1, 30, model_version="2"),
            record("c", 3, 50, model_version="2"),
            record("d", 3, 70, model_version="1"),
            record("e", 2, 5, model="small", model_version="2"),
        ]
    )
    [came] = [each for each in found.arrivals if each.key == "model_version"]
    assert (came.model, came.value, came.day) == ("large", "2", "2026-10-02")
    assert came.before is not None
    assert (came.before.usd_per_request, came.after.usd_per_request) == (Decimal("0.000000090"), Decimal("0.000000040"))


def training(cost: int | None, since_day: int, days: int, **more: Any) -> Entry:
    return Entry(
        id=f"r{since_day}", kind="training_run", name="r", since_ns=OCTOBER + since_day * DAY, until_ns=OCTOBER + (since_day + days) * DAY,
        recorded_ns=END, gpu_cost=cost, **more,
    )  # fmt: skip


def test_training_and_inference_are_told_apart() -> None:
    entries = [
        training(400, 1, 2),
        Entry(id="c", kind="other", name="c", since_ns=OCTOBER, until_ns=OCTOBER + DAY, recorded_ns=END, gpu_cost=7),
        training(50, 3, 1, tags={"workload_type": "evaluation"}),
    ]
    found = report([record("a", 0, 100), record("b", 3, 300, tags={"workload_type": "Fine-Tuning"})], entries)
    assert found.workloads == {"inference": (100, 0), "training": (200, 500), "other": (7, 50)}
    assert (
        sum(sum(amounts) for amounts in found.workloads.values())
        == sum(row.usage for row in statement(books([], entries), QUERY).rows) + 400
    )


def test_spend_that_grows_twice_as_fast_as_usage() -> None:
    records = [record(f"a{n}", 0, 10) for n in range(10)] + [record(f"b{n}", 3, 16) for n in range(15)]
    requests, tokens, hours = report(records).growths
    assert (requests.spend_growth, requests.usage_growth, requests.ratio) == (Decimal("1.4"), Decimal("0.5"), Decimal("2.8"))
    assert tokens.usage_growth == Decimal("0.5")
    assert (hours.spend_growth, hours.ratio) == (None, None)


def test_growth_of_training_is_measured_in_gpu_hours() -> None:
    entries = [training(100, 0, 1, gpus="2"), training(300, 2, 1, gpu_hours="96"), training(9, 3, 1, tags={"workload_type": "evaluation"})]
    _, _, hours = report([record("a", 0)], entries).growths
    assert [int(each) for each in hours.usage] == [48, 96]
    assert (hours.spend, hours.ratio) == ((100, 300), Decimal(2))


def test_shrinking_usage_has_no_ratio() -> None:
    requests, _, _ = report([record("a", 0), record("b", 0), record("c", 3, 50)]).growths
    assert requests.usage_growth == Decimal("-0.5")
    assert requests.ratio is None


def test_few_models_carry_most() -> None:
    found = report([record("a", 0, 60), record("b", 3, 20, model="small"), record("c", 1, 20), record("d", 1, 0, model="free")])
    assert [(rank.model, rank.usage, rank.cumulative) for rank in found.concentration] == [("large", 80, Decimal("0.8")), ("small", 20, 1)]


def test_latency_per_dollar_counts_what_certainly_met_its_objective() -> None:
    usd = 10**9
    records = [
        record("a", 0, usd, sla="critical", duration_us=900_000, first_token_us=100_000),
        record("b", 0, usd, sla="critical", duration_us=9_000_000),
        record("c", 3, 2 * usd, duration_us=1_000_000),
        record("d", 3, None, duration_us=1_000, outcome="error"),
    ]
    objectives = {"critical": Objective(duration=Duration(2), first_token=Duration(0.2)), "default": Objective(duration=Duration(2))}
    found = report(records, [training(usd, 1, 1)], QUERY, **objectives)
    told = {(each.sla, each.kind): each for each in found.latency}
    assert (told[("critical", "duration")].met, told[("critical", "duration")].answers) == (1, 2)
    assert told[("critical", "duration")].met_per_usd == Decimal("0.5")
    assert (told[("critical", "first_token")].met, told[("critical", "first_token")].answers) == (1, 1)
    assert (told[(None, "duration")].met_per_usd, told[(None, "duration")].unpriced) == (Decimal("0.5"), 1)


def test_without_objectives_or_money_there_is_no_latency_per_dollar() -> None:
    records = [record("a", 0, None, duration_us=1), record("b", 3, None, duration_us=1)]
    assert report(records).latency == ()
    [only] = report(records, default=Objective(duration=Duration(1))).latency
    assert (only.usage, only.met_per_usd) == (None, None)
    assert report(records, batch=Objective(duration=Duration(1))).latency == ()


@given(times=st.lists(st.integers(0, 10**9), max_size=30), bound=st.floats(0.001, 700))
def test_no_time_beyond_the_objective_is_counted_as_met(times: list[int], bound: float) -> None:
    latency = Latency(Histogram(), Histogram())
    for time_us in times:
        latency.add(latency_of(UsageRecord(id="x", admitted_ns=0, endpoint="e", status=200, outcome="ok", duration_us=time_us)))
    truth = sum(time_us <= bound * 1_000_000 for time_us in times)
    counted = within(latency.duration, bound)
    assert counted <= truth
    sure = sum(bucket_of(t) < len(BOUNDS_US) and BOUNDS_US[bucket_of(t)] <= bound * 1_000_000 for t in times)
    assert counted == sure


@given(records=st.lists(records_of(OCTOBER, END), min_size=1, max_size=15), entries=st.lists(runs, max_size=2))
def test_halves_are_equally_long_and_add_up(records: list[UsageRecord], entries: list[Entry]) -> None:
    kept = books(records, entries)
    parts = halves(kept, QUERY)
    if parts is None:
        span = kept.ledger.span()
        assert span is not None and END - span[0] < 2 * HOUR_NS
        return
    assert parts.until_ns - parts.middle_ns == parts.middle_ns - parts.since_ns > 0
    assert parts.middle_ns % HOUR_NS == 0
    whole = statement(kept, msgspec.structs.replace(QUERY, since_ns=parts.since_ns))
    assert sum(row.usage for half in (parts.first, parts.second) for row in half.rows) == sum(row.usage for row in whole.rows)


def test_a_young_or_empty_ledger_has_no_trends() -> None:
    assert trend_report(books([record("a", 0)], now_ns=OCTOBER + HOUR_NS), QUERY) is None
    assert trend_report(books([]), QUERY) is None
    assert trends_json(None) is None


def test_filters_hold_for_trends() -> None:
    records = [record("a", 0, 60, tags={"team": "search"}), record("b", 3, 20, tags={"team": "legal"})]
    found = report(records, query=msgspec.structs.replace(QUERY, where=(("team", "search"),)))
    assert [rank.usage for rank in found.concentration] == [60]


@given(old=st.fractions(0, 100), new=st.fractions(0, 100))
def test_growth_is_a_share_of_what_was(old: Fraction, new: Fraction) -> None:
    found = growth(old, new)
    assert (found is None) == (old == 0)
    if found is not None:
        exact = (new - old) / old
        assert abs(Fraction(found) - exact) <= max(Fraction(1, 10**6), abs(exact) / 10**20)


def test_hours_of_a_run_fall_where_it_ran() -> None:
    run = training(0, 0, 4, gpus="2")
    assert training_hours([run], OCTOBER + DAY, OCTOBER + 2 * DAY) == 48
    assert training_hours([run], DECEMBER, DECEMBER + DAY) == 0
    assert training_hours([msgspec.structs.replace(run, until_ns=run.since_ns)], OCTOBER, END) == 0


@pytest.mark.parametrize("objectives", [{}, {"default": Objective(duration=Duration(2))}])
def test_they_print_as_text_and_as_json(objectives: dict[str, Objective]) -> None:
    records = [
        record("a", 0, 90, model_version="1", gpu="L40S", duration_us=5, sla="critical"),
        record("b", 3, 30, model_version="2", model="la\x1brge"),
        record("c", 3, 30, model_version="2"),
    ]
    found, file = trend_report(books(records, [training(None, 1, 1)], objectives=objectives), QUERY), StringIO()
    print_trends(found, file)
    print_trends(None, file)
    printed = file.getvalue()
    for said in ("model_version", "2026-10-04", "of both", "ratio", "so far", "latency per dollar", "less than two hours"):
        assert said in printed
    assert "\x1b" not in printed
    told = trends_json(found)
    assert told is not None
    assert told["concentration"]
    assert msgspec.json.decode(msgspec.json.encode(told)) == told
