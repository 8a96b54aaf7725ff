"""The figures of the routing guarantee stand in the documentation as the law has them."""

import re

from penstock.domain.routing.proving.betting import _ALARM, DELTA, is_proven
from penstock.domain.routing.proving.controlling import FEWEST
from penstock.domain.routing.proving.estimating import SETTLED
from penstock.domain.routing.proving.opening import NEW_CAUTION, SETTLED_CAUTION
from tests.docs.blocks import REPOSITORY

PAGE = (REPOSITORY / "docs/explanation/routing-and-error-budgets.md").read_text("utf-8")
NEVER_LOST = 0.0


def labels_without_a_loss(budget: float) -> int:
    """How many labels without a loss prove a budget."""
    return next(count for count in range(1, 5_000) if is_proven([NEVER_LOST] * count, budget))


def test_how_many_labels_prove_a_budget() -> None:
    [first] = re.findall(r"^\| 0 \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert {int(each) for each in first} == {labels_without_a_loss(0.03)}
    [(strict, loose)] = re.findall(r"A budget of 1 % needs (\d+) labels where nothing is ever lost; one of 5 % needs (\d+)\.", PAGE)
    assert (int(strict), int(loose)) == (labels_without_a_loss(0.01), labels_without_a_loss(0.05))


def test_what_is_expected_is_told_with_its_constants() -> None:
    assert f"({SETTLED_CAUTION:g} of them on a tag with {SETTLED:g} labels or more, {NEW_CAUTION:g} on a newer one)" in PAGE
    assert f"{_ALARM:,.0f} labels or more pass" in PAGE
    assert f"From {FEWEST} labels on" in PAGE


def test_the_confidence_is_told_as_it_is() -> None:
    assert f"With probability {1 - DELTA:.0%}".replace("%", " %") in PAGE
    assert f"one event of {DELTA:.0%}".replace("%", " %") in PAGE
