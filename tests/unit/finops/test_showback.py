"""The review: every dollar of a window in one workload, every GPU-hour in one line, and nothing told of a time that nobody knows."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.spending import Budget
from penstock.domain.ledger.entries import HOUR_NS, Entry, FleetHour
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.books import Books
from penstock.finops.showback.document import Growth, Showback, TrainingBudget, showback_bytes
from penstock.finops.showback.groups import capacity_of, run_gpu_hours, trains
from penstock.finops.showback.review import showback
from penstock.finops.showback.window import Review, last_month, review_of
from penstock.finops.statement import statement
from penstock.finops.window import Window
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, books_of, records_of, runs

DAY_NS = 24 * HOUR_NS
ledgers = st.lists(records_of(), min_size=1, max_size=10, unique_by=lambda record: record.id)


def november(books: Books) -> Showback:
    return showback(books, last_month(DECEMBER + 1, "UTC"))


def days(first: int, last: int, start: int = NOVEMBER) -> Review:
    """Days of a month against as many before."""
    return review_of(Window(start + first * DAY_NS, start + last * DAY_NS, "UTC", "some days"), DECEMBER)


def answered(id: str, admitted_ns: int, cost: int | None = 10**9, **tags: str) -> UsageRecord:
    return UsageRecord(
        id=id, admitted_ns=admitted_ns, endpoint="chat.completions", status=200, outcome="ok", model="large", upstream="openai",
        tags=tags, cost=cost,
    )  # fmt: skip


def grown(review: Showback, workload: str) -> Growth:
    return next(each for each in review.growth if each.workload == workload)


@settings(max_examples=40, deadline=None)
@given(records=ledgers, entries=st.lists(runs, max_size=2, unique_by=lambda run: run.id))
def test_every_dollar_of_either_window_is_in_one_workload(records: list[UsageRecord], entries: list[Entry]) -> None:
    books = books_of(records, entries)
    review = november(books)
    stated = statement(books, CostQuery(since_ns=NOVEMBER, until_ns=DECEMBER), "separate")
    parts = {each.workload: each for each in review.growth}
    assert review.total_usd == stated.total == parts["all"].usd == sum(each.usd or 0 for name, each in parts.items() if name != "all")
    if review.before_total_usd is not None:
        assert review.before_total_usd == sum(each.before_usd or 0 for name, each in parts.items() if name != "all")


@settings(max_examples=40, deadline=None)
@given(records=ledgers, entries=st.lists(runs, max_size=2, unique_by=lambda run: run.id))
def test_teams_use_and_bear_what_the_statement_says(records: list[UsageRecord], entries: list[Entry]) -> None:
    books = books_of(records, entries)
    review = november(books)
    rows = {
        row.keys[0]: row for row in statement(books, CostQuery(since_ns=NOVEMBER, until_ns=DECEMBER, by=("team",)), "proportional").rows
    }
    assert {each.team for each in review.teams} == set(rows)
    for each in review.teams:
        row = rows[each.team]
        assert each.usage_usd is None or each.usage_usd == row.usage
        assert each.idle_usd <= row.shared
        assert each.runs_usd + sum(part.usage_usd or 0 for part in each.models) == row.usage
    assert sum(each.capacity_gpu_hours for each in review.teams) + review.nobody_gpu_hours == pytest.approx(
        review.fleet_gpu_hours, abs=0.01
    )


@given(
    worked=st.dictionaries(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from(["x", "y", "z"])), st.integers(0, 10**13)),
    ran=st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), st.integers(0, 10**14)), max_size=6),
)
def test_gpu_hours_that_ran_are_given_out_once(worked: dict[tuple[str | None, str], int], ran: list[tuple[str, int]]) -> None:
    hours = [
        FleetHour(fleet=fleet, hour=hour, since_ns=0, until_ns=HOUR_NS, rent=0, gpu_ns=gpu_ns) for hour, (fleet, gpu_ns) in enumerate(ran)
    ]
    found = capacity_of(worked, hours)
    assert sum(found.ran.values(), found.nobody) == found.whole == Fraction(sum(gpu_ns for _, gpu_ns in ran), HOUR_NS)
    assert found.nobody >= 0
    used = {fleet for (_, fleet), part in worked.items() if part}
    assert found.nobody == Fraction(sum(gpu_ns for fleet, gpu_ns in ran if fleet not in used), HOUR_NS)


def test_of_a_time_that_the_ledger_does_not_reach_nothing_is_told() -> None:
    review = november(books_of([answered("a", NOVEMBER, team="search")]))
    assert review.before.days == 0
    inference = grown(review, "inference")
    assert (inference.usd, inference.before_usd, inference.before_used, inference.spend_growth, inference.faster) == (
        10**9, None, None, None, None,
    )  # fmt: skip
    assert inference.note == "the ledger does not reach the time before"
    assert review.before_total_usd is None
    assert {lever.before_realised_usd for lever in review.levers} == {None}
    assert review.versions[0].before_requests is None
    assert review.versions[0].change is None


@pytest.mark.parametrize(("cost", "faster"), [(1, False), (2, True)])
def test_spend_is_faster_when_it_outgrows_usage(cost: int, faster: bool) -> None:
    first = [answered(f"a{n}", NOVEMBER + n) for n in range(2)]
    second = [answered(f"b{n}", NOVEMBER + 7 * DAY_NS + n, cost * 10**9) for n in range(3)]
    review = showback(books_of([*first, *second]), days(7, 14))
    inference = grown(review, "inference")
    assert (inference.used, inference.before_used, inference.usage_growth) == (3, 2, 0.5)
    assert inference.spend_growth == pytest.approx(cost * 3 / 2 - 1)
    assert inference.faster is faster


def test_growth_is_per_day_of_what_the_ledger_reaches() -> None:
    first = [answered("a", NOVEMBER + 3 * DAY_NS)]  # four days of the week before are known
    second = [answered(f"b{n}", NOVEMBER + (7 + n) * DAY_NS) for n in range(7)]
    review = showback(books_of([*first, *second]), days(7, 14))
    assert (review.before.days, review.window.days) == (4.0, 7.0)
    assert grown(review, "inference").spend_growth == 3.0  # a dollar a day against a quarter


def test_training_and_what_is_recorded_stand_apart_from_inference() -> None:
    at = NOVEMBER + 8 * DAY_NS
    entries = [
        entry("run", at, at + 10 * HOUR_NS, tags={"team": "search"}, gpu_hours="20", gpu_cost=7 * 10**9),
        entry("licence", at, at, kind="other", gpu_cost=0, transfer_cost=5),
    ]
    records = [answered("a", NOVEMBER, team="search"), answered("b", at, team="search"), answered("c", at, workload_type="fine-tuning")]
    review = showback(books_of(records, entries), days(7, 14))
    told = {each.workload: [each.usd, each.used] for each in review.growth if each.measure != "tokens processed"}
    assert [told[name] for name in ("inference", "training", "other")] == [[10**9, 1], [8 * 10**9, 20], [5, None]]
    search = next(each for each in review.teams if each.team == "search")
    assert (search.usage_usd, search.runs_usd, search.usd_per_request) == (8 * 10**9, 7 * 10**9, "1.000000000")
    assert search.other_gpu_hours == 20
    assert [each.usd_per_request for each in review.versions] == ["1.000000000"]


def entry(id: str, since_ns: int, until_ns: int, **fields: object) -> Entry:
    return msgspec.convert(
        {"id": id, "kind": "training_run", "name": id, "since_ns": since_ns, "until_ns": until_ns, "recorded_ns": until_ns, **fields}, Entry
    )


def test_unpriced_requests_have_no_cost_and_are_told() -> None:
    review = showback(books_of([answered("a", NOVEMBER + 7 * DAY_NS, None, team="search")]), days(7, 14))
    assert (review.teams[0].usage_usd, review.teams[0].usd_per_request, review.teams[0].unpriced) == (None, None, 1)
    assert review.versions[0].usd_per_request is None
    inference = grown(review, "inference")
    assert (inference.usd, inference.used, inference.spend_growth) == (None, 1, None)
    assert any("no price" in clause for clause in review.unknown)


def budgeted(limit: str, entries: Sequence[Entry], where: dict[str, str] | None = None) -> tuple[TrainingBudget, ...]:
    """The training budgets of the second week of November."""
    books = books_of([answered("a", OCTOBER)], entries)
    budget = Budget(name="training", limit=limit, where={"workload_type": "training"} if where is None else where)
    with_budget = msgspec.structs.replace(books, settings=msgspec.structs.replace(books.settings, budgets=(budget,)))
    return showback(with_budget, days(7, 14)).training_budgets


def test_only_budgets_of_training_count_as_such() -> None:
    assert budgeted("10 USD / month", [], {"team": "search"}) == ()
    assert budgeted("10 USD / month", [], {}) == ()
    assert [each.name for each in budgeted("10 USD / month", [], {"workload-type": "fine-tuning"})] == ["training"]


def test_a_training_budget_counts_recorded_runs_up_to_the_end_of_the_window() -> None:
    run = entry("run", NOVEMBER, NOVEMBER + 28 * DAY_NS, gpu_hours="280", gpu_cost=280 * 10**9)
    [usd] = budgeted("100 USD / month", [run])
    assert (usd.spent, usd.share, usd.within) == ("140.000000000", 1.4, False)
    assert usd.elapsed == pytest.approx(14 / 30, abs=1e-4)
    [hours] = budgeted("400 gpu-hours / month", [run])
    assert (hours.spent, hours.unit, hours.share, hours.within) == ("140.000", "gpu-hours", 0.35, True)


def test_a_run_of_unknown_cost_leaves_the_budget_unknown_while_it_is_not_passed() -> None:
    unknown = entry("run", NOVEMBER, NOVEMBER + DAY_NS, gpu_hours=None, gpu_cost=None)
    [usd] = budgeted("100 USD / month", [unknown])
    assert usd.within is None
    assert "what the GPUs of run (run) cost" in usd.note
    [over] = budgeted("1 USD / month", [unknown, entry("dear", NOVEMBER, NOVEMBER + DAY_NS, gpu_cost=2 * 10**9)])
    assert over.within is False
    [hours] = budgeted("400 gpu-hours / month", [unknown])
    assert (hours.spent, hours.within) == (None, None)
    assert hours.note.startswith("recorded run run (run) does not say its GPU-hours")


@given(cut=st.integers(-5, 105))
def test_the_gpu_hours_of_a_run_are_additive(cut: int) -> None:
    run = entry("run", 10 * HOUR_NS, 97 * HOUR_NS, gpu_hours="33.3")
    parts = run_gpu_hours(run, -10 * HOUR_NS, cut * HOUR_NS), run_gpu_hours(run, cut * HOUR_NS, 200 * HOUR_NS)
    assert sum(part or 0 for part in parts) == Fraction("33.3")


def test_gpus_over_a_time_are_gpu_hours() -> None:
    assert run_gpu_hours(entry("run", 0, 3 * HOUR_NS, gpus="2"), 0, HOUR_NS) == 2
    assert run_gpu_hours(entry("run", 0, 3 * HOUR_NS), 0, HOUR_NS) is None
    assert run_gpu_hours(entry("disk", 0, 3 * HOUR_NS, kind="other"), 0, HOUR_NS) == 0


def test_spellings_of_training_are_one() -> None:
    assert [trains(word) for word in ("training", "Fine-Tuning", "fine tuning", "inference", "", None)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_the_document_is_json_with_money_as_text_and_unknown_as_null() -> None:
    review = november(books_of([answered("a", NOVEMBER, 1)]))
    told = msgspec.json.decode(showback_bytes(review))
    assert told["before_total_usd"] is None
    assert told["growth"][0]["usd"] == "0.000000001"
    assert set(told) == set(Showback.__struct_fields__)
    assert {lever["projected_usd"] for lever in told["levers"]} == {None}


def test_an_empty_ledger_is_reviewed_as_empty() -> None:
    review = november(books_of([]))
    assert (review.total_usd, review.requests, review.versions, review.teams) == (0, 0, (), ())
    assert review.window.days == 0
    assert [each.advice for each in review.procurement] == ["unknown"]
