"""Which marks of a budget are told to whom: once a period, only the highest, again in a rolling window, anew for another limit."""

from typing import Any

import msgspec
import pytest

from penstock.finops.alerting.marks import News, Told, decide, everybody
from penstock.finops.budgets.status import BudgetStatus, Mark, Outlook

DAY_NS = 86_400 * 10**9
USD = 10**9


def budget(spent: int | None, *, limit: int = 100, marks: tuple[Mark, ...] | None = None, **given: Any) -> BudgetStatus:
    """A budget of whole dollars in a month of 30 days that began at the epoch."""
    values: dict[str, Any] = {
        "name": "support", "where": {}, "limit_text": f"{limit} USD / month", "unit": "USD", "limit": limit * USD, "at_limit": "alert",
        "since_ns": 0, "until_ns": 30 * DAY_NS, "rolling": False, "spent": None if spent is None else spent * USD, "by_requests": None,
        "beside": 0, "unpriced": 0, "burn": None, "outlook": None, "note": "",
    }  # fmt: skip
    everyone = tuple(Mark(at, False, ("team",)) for at in (50.0, 80.0, 95.0))
    return BudgetStatus(**{**values, "marks": everyone + (Mark("forecast", False, ("team",)),) if marks is None else marks, **given})


def told_of(*looks: BudgetStatus, refuses: bool = False, now_ns: int = DAY_NS, step_ns: int = 1) -> list[tuple[News, ...]]:
    """What each look in turn tells, an instant after the other."""
    told: Told | None = None
    said = []
    for index, status in enumerate(looks):
        news, told = decide(status, ("team",), told, now_ns + index * step_ns, refuses=refuses)
        said.append(news)
    return said


def marks_of(*looks: BudgetStatus, refuses: bool = False, now_ns: int = DAY_NS, step_ns: int = 1) -> list[list[str]]:
    return [[each.mark for each in news] for news in told_of(*looks, refuses=refuses, now_ns=now_ns, step_ns=step_ns)]


def test_each_mark_is_told_once_when_it_is_reached() -> None:
    spent = [0, 49, 50, 51, 79, 80, 80, 95, 99, 100, 130]
    assert marks_of(*map(budget, spent)) == [[], [], ["50"], [], [], ["80"], [], ["95"], [], [], []]


def test_of_several_at_once_only_the_highest_is_told() -> None:
    assert marks_of(budget(10), budget(97), budget(97)) == [[], ["95"], []]


def test_those_who_do_not_hear_of_the_highest_hear_of_their_own() -> None:
    marks = (Mark(50.0, False, ("team", "lead")), Mark(80.0, False, ("lead",)), Mark(95.0, False, ("finance", "team")))
    assert told_of(budget(96, marks=marks)) == [(News("95", ("finance", "team")), News("80", ("lead",)))]


def test_a_fall_and_a_second_rise_in_a_period_are_not_told_again() -> None:
    assert marks_of(budget(81), budget(20), budget(81)) == [["80"], [], []]


def test_a_new_period_tells_anew() -> None:
    again = budget(55, since_ns=30 * DAY_NS, until_ns=60 * DAY_NS)
    assert marks_of(budget(55), again, again) == [["50"], ["50"], []]


def test_a_limit_lowered_below_what_is_spent_is_told_at_once() -> None:
    assert marks_of(budget(60), budget(60, limit=50)) == [["50"], ["95"]]
    assert marks_of(budget(96), budget(96, limit=200), budget(190, limit=200)) == [["95"], [], ["95"]]


def test_what_is_unknown_tells_nothing() -> None:
    assert marks_of(budget(None), budget(55)) == [[], ["50"]]


def outlook(middle: int) -> Outlook:
    return Outlook(middle * USD, middle * USD, middle * USD, None)


def test_a_forecast_is_told_once_and_not_in_the_first_moments() -> None:
    above = budget(10, outlook=outlook(120))
    early, late = DAY_NS // 2, DAY_NS
    assert marks_of(above, now_ns=early) == [[]]
    assert marks_of(above, budget(10, outlook=outlook(80)), above, now_ns=late) == [["forecast"], [], []]
    assert marks_of(budget(10, outlook=outlook(100)), now_ns=late) == [[]], "the limit itself is kept"


def test_a_forecast_with_a_mark_above_it_is_left_to_that_message() -> None:
    assert marks_of(budget(96, outlook=outlook(120))) == [["95"]]
    assert marks_of(budget(60, outlook=outlook(120))) == [["forecast"]]
    assert marks_of(budget(100, outlook=outlook(120))) == [["95"]], "spend has passed the limit: nothing is left to forecast"


def test_a_cap_tells_that_it_refuses_even_below_its_limit() -> None:
    cap = budget(98, at_limit="refuse")
    assert marks_of(cap) == [["95"]]
    assert marks_of(cap, refuses=True) == [["reached"]]
    assert marks_of(budget(100, at_limit="refuse")) == [["reached"]]
    assert marks_of(budget(100)) == [["95"]], "a budget that only alerts has nothing to close"
    assert told_of(budget(100, at_limit="queue", marks=(Mark(50.0, False, ("lead",)),)))[0][0].recipients == ("team",)


def rolling(spent: int, **given: Any) -> BudgetStatus:
    return budget(spent, rolling=True, since_ns=0, until_ns=DAY_NS, **given)


def test_in_a_rolling_window_a_mark_is_told_again_after_spend_fell_well_below_it() -> None:
    assert marks_of(*map(rolling, [81, 79, 82, 70, 81])) == [["80"], [], [], [], []]
    assert marks_of(*map(rolling, [81, 69, 81, 81])) == [["80"], [], ["80"], []]


def test_messages_of_a_rolling_window_have_an_id_each_time() -> None:
    _, first = decide(rolling(81), ("team",), None, 1)
    _, rearmed = decide(rolling(60), ("team",), first, 2)
    _, second = decide(rolling(81), ("team",), rearmed, 3)
    assert (first.round, rearmed.round, second.round) == (0, 1, 1)


def test_a_rolling_cap_that_refuses_large_requests_tells_once_a_window() -> None:
    """Spend never comes near the limit, and every look finds new refusals."""
    looks = [rolling(30, at_limit="refuse")] * 5
    assert marks_of(*looks, refuses=True, step_ns=DAY_NS // 3) == [["reached"], [], [], ["reached"], []]


@pytest.mark.parametrize("notify", [(), ("ops",)])
def test_everybody_is_named_once(notify: tuple[str, ...]) -> None:
    marks = (Mark(50.0, False, ("team",)), Mark(80.0, False), Mark(95.0, False, ("finance", "team")))
    assert everybody(marks, notify) == (*notify, "team", "finance")


def test_what_was_told_survives_being_written_down() -> None:
    _, told = decide(budget(81), ("team",), None, 7)
    assert msgspec.json.decode(msgspec.json.encode(told), type=Told) == told
    assert told.marks == {"80": 7, "50": 7}
