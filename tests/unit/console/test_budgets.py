"""The answer of the page Budgets & SLOs, and the figure of a budget's course."""

from typing import Any
from xml.etree import ElementTree as Xml

import msgspec
import pytest

from penstock.console.alerts import Sent
from penstock.console.budgets import BudgetRow, answer
from penstock.console.courses import MOST_POINTS, budget_course, thinned
from penstock.console.plans import Plan
from penstock.finops.budgets.course import Course, Point

PLAN = Plan(
    name="the firm", where={}, period="November", unit="USD", limit="100.000000000", spent="60.000000000", forecast="90.000000000",
    forecast_low="80.000000000", forecast_high="99.000000000", ends=None, ends_ns=None, share=0.6, forecast_share=0.9, elapsed=0.5,
    marks=(0.5,), verdict="on plan", note="", link="/costs",
)  # fmt: skip
ALERT = Sent(at="2026-11-21T12:00:00Z", at_ns=0, subject="s", mark="80", recipient="r", state="delivered", tries=1, trouble="")
OBJECTIVE: dict[str, Any] = {"objective": "cheap", "state": "met", "responses": []}


def row(name: str = "the firm", *alerts: Sent, **plan: Any) -> BudgetRow:
    return BudgetRow(
        plan=msgspec.structs.replace(PLAN, name=name, **plan), timezone="UTC", budget={}, at_limit="refuses", is_cap=True, left=None,
        burn_per_hour=None, by_requests=None, beside=None, refused=0, alerts=alerts, recipients=("ops",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row()], "Yes: \u201cthe firm\u201d is expected to hold."),
        ([row(), row("a")], "Yes: all 2 budgets are expected to hold."),
        ([row(forecast=None)], "Yes, so far: \u201cthe firm\u201d is within its limit."),
        ([row(), row("a", verdict="ahead")], "Not as it goes: \u201ca\u201d is expected to pass its limit."),
        (
            [row("a", verdict="ahead"), row("b", verdict="over"), row("c", verdict="ahead")],
            "No: \u201cb\u201d is over its limit, and \u201ca\u201d and \u201cc\u201d are expected to pass theirs.",
        ),
        ([row("a", verdict="unknown"), row()], "As far as is known, yes: of \u201ca\u201d nobody knows."),
        (
            [row(name, verdict="over") for name in "abcde"],
            "No: \u201ca\u201d, \u201cb\u201d, \u201cc\u201d and 2 more are over their limit.",
        ),
    ],
)
def test_whether_budgets_hold(rows: list[BudgetRow], said: str) -> None:
    assert answer(rows, 0, [], []) == said


def test_what_is_done_about_it() -> None:
    late = msgspec.structs.replace(ALERT, state="given up")
    missed = OBJECTIVE | {"state": "missed", "responses": [{"response": "downgrade", "dry_run": False}]}
    said = answer([row("a", ALERT, late, verdict="over")], 1, [missed, OBJECTIVE], [])
    assert said == (
        "No: \u201ca\u201d is over its limit. Objective \u201ccheap\u201d is missed. What is done about it: "
        "2 alerts were sent, 1 of which did not arrive, 1 request was refused and \u201cdowngrade\u201d stands."
    )
    assert answer([], 0, [OBJECTIVE], []) == "The config has no [[budgets]]."


def test_without_budgets_in_the_config_keys_may_have_refused() -> None:
    bare = answer([], 0, [], [])
    assert bare.endswith("only keys with a budget of their own are held to it.")
    assert answer([], 3, [], []) == f"{bare} 3 requests were refused in the last 31 days."


def test_a_thinned_course_ends_where_it_ended() -> None:
    past = tuple((hour, hour * 7) for hour in range(745))
    ahead = tuple(Point(hour, hour, hour, hour) for hour in range(3))
    thin = thinned(Course(past, ahead))
    assert thin.past[-1] == past[-1] and len(thin.past) <= MOST_POINTS and list(thin.past) == sorted(thin.past)
    assert thin.ahead == ahead and thinned(Course()) == Course()


def course_of(*, rolling: bool, past: list[str], ahead: list[str]) -> dict[str, Any]:
    at = [f"2026-11-{day:02}T00:00:00Z" for day in range(1, 31)]
    return {
        "since": at[0],
        "until": at[-1] if not rolling else at[len(past) - 1],
        "rolling": rolling,
        "course": {
            "past": [{"at": when, "spent": amount} for when, amount in zip(at, past, strict=False)],
            "ahead": [{"at": when, "middle": each, "low": each, "high": each} for when, each in zip(at[len(past) :], ahead, strict=False)],
        },
    }


@pytest.mark.parametrize("rolling", [False, True])
def test_the_way_ahead_begins_where_spend_is_and_a_rolling_window_anew(rolling: bool) -> None:
    told = course_of(rolling=rolling, past=["0", "30", "60"], ahead=["70", "80"])
    figure = Xml.fromstring(budget_course(PLAN, told, "UTC"))
    drawing = next(each for each in figure if each.tag == "svg")
    expected = next(each for each in drawing if each.get("class") == "trace expected")
    spent = next(each for each in drawing if each.get("class") == "trace")
    begins, ends = expected.get("points", "").split()[0], spent.get("points", "").split()[-1]
    assert (begins == ends) is not rolling
    assert begins.partition(",")[0] == ends.partition(",")[0], "both meet now"
    assert "in the next window" in (figure[1].text or "") if rolling else "at its end" in (figure[1].text or "")


def test_a_course_of_which_nothing_is_known_is_drawn() -> None:
    bare = budget_course(msgspec.structs.replace(PLAN, forecast=None), course_of(rolling=False, past=[], ahead=[]), "UTC")
    assert "too little is known" in bare and "limit $100" in bare
