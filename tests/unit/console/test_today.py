"""The answer of the page Today, from plans that are kept, missed, unknown or not there."""

from typing import Any

import pytest

from penstock.console.today import Month, Plan, answer

MONTH: dict[str, Any] = {
    "name": "the firm", "where": {}, "period": "November", "limit_usd": "60000.000000000", "spent_usd": "41203.000000000",
    "pace_usd": "58310.000000000", "share": 0.68, "pace_share": 0.97, "elapsed": 0.7,
    "marks": (0.5, 0.8, 0.95), "verdict": "on plan", "note": "", "link": "/costs",
}  # fmt: skip
SPENT = Month(
    period="November", spent_usd="41203.000000000", pace_usd="58310.000000000", idle_usd=None, beside="requests only", link="/fleet"
)
TEAM = MONTH | {"name": "coding", "where": {"team": "coding"}}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, "Yes: $41,203 of the $60,000 for November is spent; at this pace it ends at $58,310."),
        ({"pace_usd": None}, "Yes, so far: $41,203 of the $60,000 for November is spent."),
        ({"note": "3 of its requests have no price: it is at least this"}, "Yes: at least $41,203 of the $60,000 for November is spent;"),
        (
            {"verdict": "ahead", "pace_usd": "70000"},
            "Not at this pace: $41,203 of the $60,000 for November is spent, and a straight",
        ),
        ({"verdict": "over", "spent_usd": "61000"}, "No: $61,000 is spent of the $60,000 for November."),
        ({"verdict": "unknown", "spent_usd": None, "note": "none has a price"}, "That is unknown: none has a price."),
    ],
)
def test_the_widest_plan_answers(plan: dict[str, Any], said: str) -> None:
    main = Plan(**MONTH | plan)
    assert answer([Plan(**TEAM), main], SPENT, empty=False).startswith(said)


def test_other_plans_that_are_missed_are_named() -> None:
    teams = [Plan(**TEAM | {"verdict": "over"}), Plan(**TEAM | {"name": "search", "verdict": "ahead"}), Plan(**TEAM | {"name": "support"})]
    said = answer([Plan(**MONTH), *teams], SPENT, empty=False)
    assert said.endswith(" \u201ccoding\u201d and \u201csearch\u201d are not on plan.")


def test_without_a_plan_the_pace_is_told() -> None:
    assert answer([], SPENT, empty=False) == (
        "Nobody has said what the plan is: $41,203 is spent in November so far, and a straight line ends at $58,310."
    )
    assert answer([], SPENT, empty=True) == "Nothing has been spent: no request has come through yet."
