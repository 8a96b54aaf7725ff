"""What stands out: a runaway does, a weekend does not, and nothing does before there is anything to compare with."""

import random
from datetime import date, timedelta
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.ledger import Keys
from penstock.finops.savings import savings_by
from penstock.finops.standing_out import Day, Rise, paying_cache, rises, spend_rises
from tests.ledger_entries import record
from tests.unit.finops.ledgers import EVER, Ledger

USD = 10**9
DAYS = [f"2026-11-{day:02d}" for day in range(1, 23)]
"""1 November 2026 is a Sunday; the 22nd, a Sunday, is today"""
WHOLE = Fraction(1)


def spend(*usd: float) -> dict[str, Day]:
    return {day: Day(round(amount * USD), round(amount * 10)) for day, amount in zip(DAYS, usd, strict=False)}


def found(series: dict[Keys, dict[str, Day]], elapsed: Fraction = WHOLE) -> list[Rise]:
    return list(rises(series, DAYS, elapsed))


def week(weekday: float, weekend: float, seed: int = 1, noise: float = 0.15) -> list[float]:
    rng = random.Random(seed)
    return [(weekend if index % 7 in (0, 6) else weekday) * rng.uniform(1 - noise, 1 + noise) for index in range(len(DAYS))]


def test_a_runaway_stands_out_with_its_days() -> None:
    agent = week(10, 2)
    agent[17:20] = [90, 120, 110]
    rise = found({("engineering", "code"): spend(*agent), ("support", "chat"): spend(*week(40, 12, 2))})
    assert [each.keys for each in rise] == [("engineering", "code")]
    assert (rise[0].first_day, rise[0].last_day, rise[0].days, rise[0].ongoing) == ("2026-11-18", "2026-11-20", 3, False)
    assert rise[0].cost == 320 * USD
    assert rise[0].ratio is not None and 9 < rise[0].ratio < 13


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("weekday", "weekend"), [(10, 1), (10, 10), (10, 4), (10, 0)])
def test_an_ordinary_week_is_quiet(seed: int, weekday: float, weekend: float) -> None:
    for elapsed in (Fraction(0), Fraction(1, 3), WHOLE):
        series: dict[Keys, dict[str, Day]] = {}
        for number in range(1, 7):
            usd = week(weekday * number, weekend * number, seed * 10 + number, 0.25)
            series["t", str(number)] = spend(*usd[:-1], usd[-1] * float(elapsed))
        assert found(series, elapsed) == []


@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("first", range(21, 35))
@pytest.mark.parametrize(("weekday", "weekend"), [(20, 1), (10, 4), (10, 10), (2, 20)])
def test_only_the_days_of_an_incident_stand_out_whatever_the_weekday(first: int, length: int, weekday: float, weekend: float) -> None:
    """Also when the days before are all of a weekend, or the incident hides the week from the days after it."""
    days = [(date(2026, 10, 1) + timedelta(days=number)).isoformat() for number in range(43)]
    rng = random.Random(first)
    usual = [(weekend if date.fromisoformat(day).weekday() >= 5 else weekday) * rng.uniform(0.8, 1.2) for day in days]
    spent = {day: Day(round(amount * USD), 10) for day, amount in zip(days, usual, strict=True)}
    for day in days[first : first + length]:
        spent[day] = Day(spent[day].cost + 150 * USD, 3000)
    found = rises({("engineering", "code"): spent}, days, WHOLE, 22)
    assert [(each.first_day, each.last_day, each.days) for each in found] == [(days[first], days[first + length - 1], length)]
    assert found[0].usual == pytest.approx(sum(usual[first : first + length]) * USD, rel=0.4), "as many usual days of the same kinds"


def test_a_working_saturday_is_measured_against_saturdays() -> None:
    agent = week(10, 1)
    agent[20] = 10  # 21 November 2026, a Saturday
    assert [(each.first_day, each.ongoing) for each in found({("a",): spend(*agent)})] == [("2026-11-21", True)]


def test_what_is_over_is_not_told_again() -> None:
    agent = week(10, 10)
    agent[12] = 100
    series: dict[Keys, dict[str, Day]] = {("a",): spend(*agent)}
    assert [len(rises(series, DAYS, WHOLE, judged)) for judged in (9, 10)] == [0, 1]


def test_yesterday_counts_as_ongoing_and_an_older_day_does_not() -> None:
    yesterday, older = week(10, 8), week(10, 8)
    yesterday[20] = older[15] = 100
    yesterday[21] = 0
    assert [rise.ongoing for rise in found({("a",): spend(*yesterday)}, Fraction(1, 10))] == [True]
    assert [rise.ongoing for rise in found({("a",): spend(*older)})] == [False]


def test_today_stands_out_before_it_is_over() -> None:
    today = week(10, 8)
    today[21] = 15
    rise = found({("a",): spend(*today)}, Fraction(1, 4))
    assert [(each.last_day, each.ongoing) for each in rise] == [(DAYS[-1], True)]
    assert rise[0].usual < 3 * USD, "compared with as much of a usual day as is over"
    today[21] = 9
    assert found({("a",): spend(*today)}, WHOLE) == []


def test_the_largest_excess_comes_first_but_what_goes_on_before_it() -> None:
    big, small, running = week(10, 10), week(10, 10), week(10, 10)
    big[15], small[15], running[20] = 500, 60, 40
    order = found({("small",): spend(*small), ("big",): spend(*big), ("running",): spend(*running)})
    assert [rise.keys[0] for rise in order] == ["running", "big", "small"]


def test_a_drop_and_a_trifle_do_not_stand_out() -> None:
    drop, trifle = week(10, 10), [0.01] * 22
    drop[18] = 0
    trifle[18] = 0.09
    assert found({("drop",): spend(*drop), ("trifle",): spend(*trifle)}) == []


def test_what_is_new_has_to_become_usual_first() -> None:
    new = {day: Day(50 * USD, 1) for day in DAYS[16:]}
    assert found({("new",): new, ("old",): spend(*week(10, 10))}) == []


def test_a_runaway_is_no_excuse_for_itself_until_a_week_is_over() -> None:
    stays = week(10, 10)
    stays[9:] = [100.0] * 13
    rise = found({("a",): spend(*stays)})
    assert [(each.first_day, each.days) for each in rise] == [(DAYS[9], 7)], "from the eighth day on it is the usual"


@given(st.lists(st.integers(0, 10**12), min_size=22, max_size=22), st.fractions(0, 1))
def test_any_series_can_be_judged(costs: list[int], elapsed: Fraction) -> None:
    for rise in rises({("a",): {day: Day(cost, 1) for day, cost in zip(DAYS, costs, strict=True)}}, DAYS, elapsed):
        assert rise.excess > 0 or rise.last_day == DAYS[-1]


def test_from_the_ledger() -> None:
    now = 400 * DAY_NS + DAY_NS // 2
    records = [
        record(f"{ago}-{number}", admitted_ns=now - ago * DAY_NS, cost=USD, tags={"team": "t", "feature": "agent"})
        for ago in range(1, 20)
        for number in range(50 if ago == 2 else 2)
    ]
    rise = spend_rises(Ledger(records), now)
    assert [(each.keys, each.days, each.requests, each.usual_requests) for each in rise] == [(("t", "agent"), 1, 50, 2)]
    assert spend_rises(Ledger([]), now) == ()


def test_a_cache_that_pays() -> None:
    hits = [record(f"h{n}", cache="exact", cost=0, list_cost=10, counterfactual=10, tags={"feature": "faq"}) for n in range(60)]
    made = [record(f"m{n}", cost=10, list_cost=10, counterfactual=10, tags={"feature": "faq"}) for n in range(60)]
    other = [record(f"o{n}", cost=10, list_cost=10, counterfactual=10, tags={"feature": "code"}) for n in range(120)]
    rows = savings_by(Ledger([*hits, *made, *other]), msgspec.structs.replace(EVER, by=("feature",)))
    assert [row.keys for row in paying_cache(rows)] == [("faq",)]


def test_all_layers_of_the_cache_pay_together_less_embeddings() -> None:
    def asked(id: str, layer: str | None, feature: str, embedding: int) -> UsageRecord:
        more = {"cache": layer, "cost": embedding} if layer else {"cost": 10 + embedding}
        return record(id, list_cost=10, counterfactual=10, embedding_cost=embedding, tags={"feature": feature}, **more)

    layers = ("exact", "normalised", "semantic", None, None, None, None, None)
    free = [asked(f"f{n}", layers[n % 8], "faq", 0) for n in range(160)]
    dear = [asked(f"d{n}", layers[n % 8], "dear", 2 if n % 8 > 1 else 0) for n in range(160)]
    rows = savings_by(Ledger([*free, *dear]), msgspec.structs.replace(EVER, by=("feature",)))
    assert [(row.keys, row.savings.by_cache, row.savings.list_cost) for row in paying_cache(rows)] == [(("faq",), 600, 1600)]
    assert {row.keys: row.savings.by_cache for row in rows}["dear",] == 600 - 120 * 2
