"""The answer of the page Today, from plans that are kept, missed, unknown or not there."""

from typing import Any

import pytest

from penstock.console.plans import Plan
from penstock.console.today import Month, answer

MONTH: dict[str, Any] = {
    "name": "the firm", "where": {}, "period": "November", "unit": "USD", "limit": "60000.000000000", "spent": "41203.000000000",
    "forecast": "58310.000000000", "forecast_low": "55000", "forecast_high": "61000", "ends": None, "ends_ns": None, "share": 0.68,
    "forecast_share": 0.97, "elapsed": 0.7,
    "marks": (0.5, 0.8, 0.95), "verdict": "on plan", "note": "", "link": "/costs",
}  # fmt: skip
SPENT = Month(
    period="November",
    spent_usd="41203.000000000",
    by_requests_usd="41203.000000000",
    forecast_usd="58310.000000000",
    idle_usd=None,
    beside="requests only",
    link="/fleet",
)
TEAM = MONTH | {"name": "coding", "where": {"team": "coding"}}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, "Yes: $41,203 of the $60,000 for November is spent, and $58,310 is to be expected."),
        ({"forecast": None}, "Yes, so far: $41,203 of the $60,000 for November is spent."),
        (
            {"note": "3 of its requests have no price: it is at least this"},
            "Yes: at least $41,203 of the $60,000 for November is spent, and",
        ),
        (
            {"verdict": "ahead", "forecast": "70000"},
            "Not as it goes: $41,203 of the $60,000 for November is spent, and $70,000 is to be expected.",
        ),
        ({"verdict": "over", "spent": "61000"}, "No: $61,000 is spent of the $60,000 for November."),
        (
            {"unit": "gpu-hours", "limit": "400.000000", "spent": "312.500000", "forecast": None},
            "Yes, so far: 312.5 GPU-hours of the 400 GPU-hours for November is spent.",
        ),
        ({"verdict": "unknown", "spent": None, "note": "none has a price"}, "That is unknown: none has a price."),
    ],
)
def test_the_widest_plan_answers(plan: dict[str, Any], said: str) -> None:
    main = Plan(**MONTH | plan)
    assert answer([Plan(**TEAM), main], SPENT, empty=False).startswith(said)


def test_other_plans_that_are_missed_are_named() -> None:
    teams = [Plan(**TEAM | {"verdict": "over"}), Plan(**TEAM | {"name": "search", "verdict": "ahead"}), Plan(**TEAM | {"name": "support"})]
    said = answer([Plan(**MONTH), *teams], SPENT, empty=False)
    assert said.endswith(" \u201ccoding\u201d and \u201csearch\u201d are not on plan.")


def test_without_a_plan_what_is_expected_is_told() -> None:
    assert answer([], SPENT, empty=False) == (
        "Nobody has said what the plan is: $41,203 is spent in November so far, and $58,310 is to be expected."
    )
    assert answer([], SPENT, empty=True) == "Nothing has been spent: no request has come through yet."
