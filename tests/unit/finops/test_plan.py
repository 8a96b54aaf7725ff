"""Budgets in their current period: calendar periods in the config's zone, marks, pace, and what is not known."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from penstock.config.limits import parse_limit
from penstock.config.settings import Alert, Budget
from penstock.finops.plan import BudgetStatus, period, plan_json, plan_status
from tests.ledger_entries import record
from tests.unit.finops.ledgers import Ledger

USD = 10**9
HOUR = 3600 * 10**9


def ns(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9


NOW = ns("2026-11-19T12:00")


def status(records: list[Any], limit: str = "100 USD / month", now: int = NOW, zone: str = "UTC", **more: Any) -> BudgetStatus:
    return plan_status([Budget("b", limit, **more)], Ledger(records), now, zone)[0]


def spent(id: str, cost: int | None, at: int = NOW - HOUR, **more: Any) -> Any:
    return record(id, admitted_ns=at, cost=cost, **more)


@pytest.mark.parametrize(
    ("limit", "zone", "now", "since", "until"),
    [
        ("1 USD / hour", "UTC", "2026-11-19T12:34:56", "2026-11-19T12:00", "2026-11-19T13:00"),
        ("1 USD / hour", "Asia/Kolkata", "2026-11-19T12:34:56", "2026-11-19T12:00", "2026-11-19T13:00"),
        ("1 USD / day", "Europe/Prague", "2026-11-19T00:30", "2026-11-19", "2026-11-20"),
        ("1 USD / day", "Europe/Prague", "2026-10-25T12:00", "2026-10-25", "2026-10-26"),
        ("1 USD / week", "UTC", "2026-11-19T12:00", "2026-11-16", "2026-11-23"),
        ("1 USD / month", "America/New_York", "2026-11-30T23:30", "2026-11-01", "2026-12-01"),
        ("1 USD / month", "UTC", "2026-12-31T12:00", "2026-12-01", "2027-01-01"),
        ("1 USD / rolling 24h", "UTC", "2026-11-19T12:00", "2026-11-18T12:00", "2026-11-19T12:00"),
    ],
)
def test_periods(limit: str, zone: str, now: str, since: str, until: str) -> None:
    assert period(parse_limit(limit), ns(now, zone), zone) == (ns(since, zone), ns(until, zone))


def test_a_day_of_25_hours_is_one_day() -> None:
    since, until = period(parse_limit("1 USD / day"), ns("2026-10-25T12:00", "Europe/Prague"), "Europe/Prague")
    assert until - since == 25 * HOUR


def test_only_what_matches_and_lies_in_the_period_counts() -> None:
    records = [
        spent("1", 3 * USD, tags={"team": "a"}),
        spent("2", 5 * USD, tags={"team": "b"}),
        spent("3", 7 * USD, tags={"team": "a"}, at=ns("2026-10-31T23:59")),
    ]
    assert status(records, where={"team": "a"}).spent == 3 * USD
    assert status(records).spent == 8 * USD


def test_the_zone_decides_which_month_it_is() -> None:
    records = [spent("1", USD, at=ns("2026-10-31T23:30"))]
    assert [status(records, zone=zone).spent for zone in ("UTC", "Europe/Prague")] == [0, USD]


def test_marks_are_passed_one_after_the_other() -> None:
    found = status([spent("1", 80 * USD)], alert_at=(50, 80.5, Alert(95), "forecast", 80))
    assert dict(found.marks) == {50: True, 80: True, 80.5: False, 95: False}
    assert dict(status([spent("1", 49 * USD)]).marks) == {50: False, 80: False, 95: False}
    assert "80 % mark" in " ".join(found.alerts)


def test_beyond_the_limit_one_alert_says_it_all() -> None:
    assert status([spent("1", 130 * USD)]).alerts == ("b: 130 % of 100 USD / month is spent",)


def test_the_pace_is_a_straight_line_through_the_period() -> None:
    early = spent("0", 0, at=ns("2026-10-01"))
    found = status([early, spent("1", 40 * USD)], now=ns("2026-11-11"))
    assert found.spent == 0, "the hour before NOW has not come yet"
    found = status([early, spent("1", 40 * USD, at=ns("2026-11-02"))], now=ns("2026-11-11"))
    assert found.pace == 120 * USD
    assert found.alerts == ("b: at this pace 120 % of 100 USD / month",)


def test_a_ledger_that_began_later_paces_from_its_begin() -> None:
    assert status([spent("1", 10 * USD, at=ns("2026-11-10"))], now=ns("2026-11-20")).pace == 21 * USD


def test_no_pace_too_early_and_none_for_windows_that_roll() -> None:
    assert status([spent("1", USD, at=NOW)], now=NOW + 60 * 10**9).pace is None
    assert status([spent("1", USD)], limit="100 USD / rolling 24h").pace is None
    assert status([spent("1", USD)], limit="100 USD / rolling 24h").spent == USD


def test_unknown_is_said() -> None:
    nothing = status([spent("1", None, cost_basis="unknown")])
    assert (nothing.spent, nothing.share, nothing.pace) == (None, None, None)
    assert nothing.alerts == ()
    assert "unknown" in nothing.note
    some = status([spent("1", None, cost_basis="unknown"), spent("2", USD)])
    assert (some.spent, some.unpriced) == (USD, 1)
    assert "at least" in some.note
    hours = status([spent("1", USD)], limit="400 gpu-hours / month")
    assert (hours.spent, hours.limit, hours.pace) == (None, None, None)
    assert "GPU-hours" in hours.note
    assert plan_json([hours])[0]["spent_usd"] is None


def test_an_empty_ledger_has_spent_nothing() -> None:
    found = status([])
    assert (found.spent, found.alerts) == (0, ())
    assert found.share == 0
    assert found.since_ns == round(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
