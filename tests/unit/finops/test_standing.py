"""Budgets in their current period: calendar periods in their zone, marks, what is expected, GPU-hours, and what is not known."""

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from penstock.config.hardware import Fleet
from penstock.config.settings import Model, Settings, Upstream
from penstock.config.spending import Alert, Budget
from penstock.domain.dialects.tokens import Tokens
from penstock.finops.books import Books
from penstock.finops.budgets.standing import budget_standings, standings
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.budgets.status_json import alerts, standing_json, status_json
from penstock.finops.ledger import Ledger as WholeLedger
from tests.ledger_entries import record
from tests.unit.finops.ledgers import Ledger

USD = 10**9
HOUR = 3600 * 10**9
DAY = 24 * HOUR


def ns(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9


NOW = ns("2026-11-19T12:00")
BARE = Settings(version=1, upstreams={"api": Upstream()}, models={"large": Model(upstream="api")})


def books(records: list[Any], budgets: tuple[Budget, ...], now: int = NOW, settings: Settings = BARE) -> Books:
    return Books(msgspec.structs.replace(settings, budgets=budgets), WholeLedger(Ledger(records)), now, lambda fleet: None)


def status(records: list[Any], limit: str = "100 USD / month", now: int = NOW, settings: Settings = BARE, **more: Any) -> BudgetStatus:
    return budget_standings(books(records, (Budget(name="b", limit=limit, **more),), now, settings))[0]


def spent(id: str, cost: int | None, at: int = NOW - HOUR, **more: Any) -> Any:
    return record(id, admitted_ns=at, cost=cost, **more)


def even(until: int, days: int, usd_a_day: int) -> list[Any]:
    """So much on every day, the same in every hour."""
    return [spent(f"e{hour}", usd_a_day * USD // 24, at=until - hour * HOUR - HOUR // 2) for hour in range(days * 24)]


@pytest.mark.parametrize(
    ("limit", "zone", "now", "since", "until"),
    [
        ("1 USD / hour", "Asia/Kolkata", "2026-11-19T12:34:56", "2026-11-19T12:00", "2026-11-19T13:00"),
        ("1 USD / day", "Europe/Prague", "2026-10-25T12:00", "2026-10-25", "2026-10-26"),
        ("1 USD / week", "UTC", "2026-11-19T12:00", "2026-11-16", "2026-11-23"),
        ("1 USD / month", "America/New_York", "2026-11-30T23:30", "2026-11-01", "2026-12-01"),
    ],
)
def test_periods_are_those_of_the_budgets_own_zone(limit: str, zone: str, now: str, since: str, until: str) -> None:
    found = status([], limit, ns(now, zone), timezone=zone)
    assert (found.since_ns, found.until_ns, found.rolling) == (ns(since, zone), ns(until, zone), False)


def test_a_window_that_rolls_ends_now() -> None:
    found = status([spent("1", USD)], "100 USD / rolling 24h")
    assert (found.until_ns, found.rolling, found.spent) == (NOW, True, USD)
    assert 0 <= NOW - DAY - found.since_ns <= DAY // 60


def test_only_what_matches_and_lies_in_the_period_counts() -> None:
    records = [
        spent("1", 3 * USD, tags={"team": "a"}),
        spent("2", 5 * USD, tags={"team": "b"}),
        spent("3", 7 * USD, tags={"team": "a"}, at=ns("2026-10-31T23:59")),
    ]
    assert status(records, where={"team": "a"}).spent == 3 * USD
    assert status(records).spent == 8 * USD


def test_budgets_that_name_the_same_keys_are_read_at_once_and_say_the_same() -> None:
    records = [spent(f"{team}{day}", (number + 1) * USD, at=NOW - day * DAY - HOUR, tags={"team": team})
               for number, team in enumerate("abc") for day in range(4)]  # fmt: skip
    budgets = tuple(Budget(name=team, limit="100 USD / month", where={"team": team}) for team in "abcd")
    together = budget_standings(books(records, budgets))
    assert together == tuple(budget_standings(books(records, (budget,)))[0] for budget in budgets)
    assert [each.spent for each in together] == [4 * USD, 8 * USD, 12 * USD, 0]


def test_the_zone_decides_which_month_it_is() -> None:
    records = [spent("1", USD, at=ns("2026-10-31T23:30"))]
    assert [status(records, timezone=zone).spent for zone in ("UTC", "Europe/Prague")] == [0, USD]


def test_marks_are_passed_one_after_the_other_and_know_who_hears_of_them() -> None:
    found = status([spent("1", 80 * USD)], alert_at=(50, 80.5, Alert(at=95, notify=("boss",)), "forecast", 80), notify=("team",))
    assert {mark.at: (mark.passed, mark.notify) for mark in found.marks if mark.at != "forecast"} == {
        50: (True, ("team",)), 80: (True, ("team",)), 80.5: (False, ("team",)), 95: (False, ("boss",)),
    }  # fmt: skip
    usual = status([spent("1", 49 * USD)])
    assert [(mark.at, mark.passed) for mark in usual.marks[:3]] == [(50, False), (80, False), (95, False)]
    assert "80 % mark" in " ".join(alerts(found))


def test_beyond_the_limit_one_alert_says_it_all() -> None:
    found = status([spent("1", 130 * USD)])
    assert alerts(found) == ("b: 130 % of 100 USD / month is spent",)
    begun = status([spent("0", 90 * USD, at=NOW - 30 * HOUR), spent("1", 40 * USD, at=NOW - 20 * HOUR)])
    assert begun.outlook is not None and begun.outlook.exceeds_ns is not None
    assert NOW - 20 * HOUR <= begun.outlook.exceeds_ns <= NOW - 19 * HOUR, "when it was passed"


def test_an_even_spend_goes_on_and_the_day_is_told_on_which_the_budget_ends() -> None:
    now = ns("2026-11-11")
    found = status(even(now, 41, 4), now=now)
    assert found.spent == pytest.approx(40 * USD, rel=0.01)
    assert found.outlook is not None
    assert found.outlook.middle == pytest.approx(120 * USD, rel=0.01)
    assert found.outlook.low <= found.outlook.middle <= found.outlook.high
    assert found.outlook.exceeds_ns == pytest.approx(ns("2026-11-26"), abs=DAY // 2)
    assert found.burn == pytest.approx(Fraction(4 * USD, 24), rel=0.01)
    [mark] = [mark for mark in found.marks if mark.at == "forecast"]
    assert mark.passed
    assert alerts(found) == ("b: 119.9 % of 100 USD / month is to be expected",)
    assert status_json(found)["exceeds"] is not None


def test_an_early_month_knows_the_months_before() -> None:
    now = ns("2026-11-01T00:30")
    found = status(even(now, 31, 4), now=now)
    assert found.outlook is not None
    assert found.outlook.middle == pytest.approx(120 * USD, rel=0.02), "a straight line through half an hour would not know it"


def test_the_course_leads_from_the_periods_begin_to_its_end() -> None:
    now = ns("2026-11-11T07:20")
    [found] = standings(books(even(now, 20, 24), (budget := Budget(name="b", limit="1000 USD / month"),), now), [budget])
    past, ahead = found.course.past, found.course.ahead
    assert past[0][0] == ns("2026-11-01") and past[-1] == (now, found.status.spent)
    assert [amount for _, amount in past] == sorted(amount for _, amount in past)
    assert (ahead[0].at_ns, ahead[-1].at_ns) == (ns("2026-11-11T08:00"), ns("2026-12-01"))
    for one, other in pairwise(ahead):
        assert one.middle <= other.middle and one.low <= one.middle <= one.high
    told: Any = standing_json(found)
    assert float(told["course"]["ahead"][-1]["middle"]) == float(told["forecast_usd"])


def test_nothing_is_expected_before_an_hour_is_over() -> None:
    assert status([spent("1", USD, at=NOW - HOUR // 2)], now=NOW + 60 * 10**9).outlook is None
    assert status([]).outlook is None


def test_a_window_that_rolls_tells_when_it_will_be_full() -> None:
    quiet = [spent(f"q{hour}", USD, at=NOW - hour * HOUR - 1) for hour in range(6, 72)]
    loud = [spent(f"l{hour}", 10 * USD, at=NOW - hour * HOUR - 1) for hour in range(6)]
    found = status(quiet + loud, "100 USD / rolling 24h")
    assert found.spent == 78 * USD
    assert found.outlook is not None and found.outlook.exceeds_ns is not None
    assert NOW + HOUR <= found.outlook.exceeds_ns <= NOW + 6 * HOUR, "22 USD are left, at 10 USD an hour or less"
    steady = status([spent(f"s{hour}", 4 * USD, at=NOW - hour * HOUR - 1) for hour in range(24)], "100 USD / rolling 24h")
    assert steady.outlook is not None and steady.outlook.middle == pytest.approx(96 * USD, rel=0.05)


def test_unknown_is_said() -> None:
    nothing = status([spent("1", None, cost_basis="unknown")])
    assert (nothing.spent, nothing.share, nothing.outlook, alerts(nothing)) == (None, None, None, ())
    assert "unknown" in nothing.note
    assert status_json(nothing)["spent_usd"] is None
    some = status([spent("1", None, cost_basis="unknown"), spent("2", USD)])
    assert (some.spent, some.unpriced) == (USD, 1)
    assert "at least" in some.note


def test_what_is_called_beside_requests_counts_against_their_budget() -> None:
    found = status([spent("1", USD), spent("2", 2 * USD, purpose="draft", parent="1"), spent("3", None, purpose="shadow", parent="1")])
    assert (found.spent, found.unpriced) == (3 * USD, 1)
    assert found.note.startswith("1 of its requests and of the calls beside them have no price: it is at least this")
    assert status([spent("3", None, purpose="shadow", parent="1")]).spent is None, "nothing of it is known"


def test_an_empty_ledger_has_spent_nothing() -> None:
    found = status([])
    assert (found.spent, found.share, alerts(found)) == (0, Fraction(0), ())
    assert found.since_ns == round(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9


def test_gpu_hours_are_planned_work_and_what_ran_beside_it() -> None:
    fleet = Fleet(gpu="L40S", upstream="own", count=2, price="1 USD/gpu-hour", planned_tokens_per_second=100)
    settings = Settings(version=1, upstreams={"own": Upstream()}, models={"small": Model(upstream="own")}, fleets={"f": fleet})
    work = [
        record("1", admitted_ns=NOW - 2 * HOUR, fleet="f", upstream="own", cost=7, tokens=Tokens(9, 0, 0, 90_000, 0), tags={"team": "a"})
    ]
    team = status(work, "400 gpu-hours / month", settings=settings, where={"team": "a"})
    assert team.spent == team.by_requests == 90_000 * 2 * 1_000_000 // 100, "half an hour of two GPUs"
    whole = status(work, "400 gpu-hours / month", settings=settings)
    assert whole.spent == 2 * 2 * 3_600_000_000, "two GPUs ran two hours, since the ledger begins"
    assert whole.by_requests is not None and whole.beside == 4 * 3_600_000_000 - whole.by_requests
    assert status_json(whole)["spent_gpu_hours"] == "4.000000"
