"""The table of budgets at a terminal: what was passed, what is not known and why."""

from fractions import Fraction

import msgspec
import pytest

from penstock.cli.budget_table import headline, print_budgets
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.budgets.status import BudgetStatus, Mark, Outlook

SINCE = 1_793_491_200 * 10**9
"""2026-11-01, UTC"""
USD = 10**9
STATUS = BudgetStatus(
    name="support", where={}, limit_text="100 USD / month", unit="USD", limit=100 * USD, at_limit="alert", since_ns=SINCE,
    until_ns=SINCE + 30 * DAY_NS, rolling=False, spent=60 * USD, by_requests=60 * USD, beside=0, unpriced=0, burn=Fraction(USD),
    outlook=None, marks=(Mark(50, True), Mark(80, False)), note="",
)  # fmt: skip
AHEAD = Outlook(130 * USD, 120 * USD, 140 * USD, SINCE + 20 * DAY_NS + DAY_NS // 2)


def table(capsys: pytest.CaptureFixture[str], *statuses: BudgetStatus) -> list[str]:
    print_budgets(statuses, {status.name: "UTC" for status in statuses})
    return capsys.readouterr().out.splitlines()


def test_what_nobody_can_expect_yet_is_said_once_below(capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(capsys, STATUS, msgspec.structs.replace(STATUS, name="search"))
    assert "marks passed" in lines[0] and "limit reached" in lines[0]
    assert lines[3:] == ["support, search: too little is known to say what is to be expected"]


def test_an_unknown_spend_has_its_own_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(capsys, msgspec.structs.replace(STATUS, spent=None, note="no price"))[2:] == ["support: no price"]


@pytest.mark.parametrize(
    ("spent", "outlook", "cell", "sentence"),
    [
        (60 * USD, AHEAD, " 2026-11-21", "; the limit is passed on 2026-11-21"),
        (101 * USD, AHEAD, " passed 2026-11-21", "; the limit was passed on 2026-11-21"),
        (101 * USD, msgspec.structs.replace(AHEAD, exceeds_ns=None), " passed", "; the limit was passed"),
        (60 * USD, msgspec.structs.replace(AHEAD, exceeds_ns=None), " -", " is to be expected at its end"),
    ],
)
def test_when_the_limit_is_or_was_passed(
    capsys: pytest.CaptureFixture[str], spent: int, outlook: Outlook, cell: str, sentence: str
) -> None:
    status = msgspec.structs.replace(STATUS, spent=spent, outlook=outlook)
    _, line = table(capsys, status)
    assert line.rstrip().endswith(cell) and headline(status, "UTC").endswith(sentence)
