"""The smallest tier that meets a feature's error budget."""

from collections.abc import Sequence

import pytest

from penstock.domain.ledger.routed import Observation, Seen
from penstock.domain.routing.right_size import right_size

TIERS = ("small", "mid", "large")


def labelled(*losses: Sequence[float | None], propensity: float = 1.0, noise: float = 0.0) -> list[Observation]:
    """Requests on which the tiers but the last one lose so much."""
    return [
        Observation(
            id=f"r{at}",
            at_ns=at,
            route="auto",
            tag="chat",
            judge="check",
            propensity=propensity,
            noise=noise,
            seen=(
                *(Seen(tier=tier, quality=None if loss is None else 1.0 - loss, cost=1) for tier, loss in zip(TIERS, row, strict=False)),
                Seen(tier="large", quality=1.0, cost=1),
            ),
        )
        for at, row in enumerate(losses)
    ]


def test_the_first_tier_within_the_budget_is_the_size() -> None:
    rows = labelled(*[(float(at % 10 == 0), float(at % 50 == 0)) for at in range(500)])
    found = right_size(rows, TIERS, 0.05)
    small, mid = found.tiers
    assert [each.loss for each in found.tiers] == pytest.approx([0.10, 0.02])
    assert small.low is not None and small.high is not None and small.low < 0.1 < small.high
    assert (found.smallest, found.proven, found.lacking) == ("mid", "mid", 0)
    assert mid.at_most is not None and mid.at_most <= 0.05 < (small.at_most or 1)


def test_a_small_measured_loss_is_not_a_proof() -> None:
    found = right_size(labelled(*[(0.0, 0.0)] * 12), TIERS, 0.03)
    assert (found.smallest, found.proven) == ("small", None)
    assert found.lacking is not None and found.lacking > 50
    assert found.tiers[0].high is not None and found.tiers[0].high > 0.03, "twelve flawless answers may hide a loss"


def test_without_evidence_the_size_is_unknown_and_the_labels_that_it_takes_are_told() -> None:
    found = right_size([], TIERS, 0.03)
    assert (found.smallest, found.proven, found.labels) == (None, None, 0)
    assert found.lacking is not None and found.lacking > 60
    tighter = right_size([], TIERS, 0.01)
    assert tighter.lacking is not None and tighter.lacking > found.lacking


def test_the_reference_is_the_size_where_every_other_tier_was_found_to_lose_too_much() -> None:
    found = right_size(labelled(*[(0.4, 0.3)] * 100), TIERS, 0.03)
    assert (found.smallest, found.proven, found.lacking) == ("large", None, None)


def test_a_tier_that_nobody_judged_keeps_the_size_open() -> None:
    found = right_size(labelled(*[(0.4, None)] * 100), TIERS, 0.03)
    assert found.smallest is None, "the middle one may do"


def test_a_judge_that_misses_losses_makes_them_larger() -> None:
    rows = [(float(at % 25 == 0), 0.0) for at in range(200)]
    sure, noisy = right_size(labelled(*rows), TIERS, 0.05), right_size(labelled(*rows, noise=0.3), TIERS, 0.05)
    assert (sure.smallest, noisy.smallest) == ("small", "small")
    doubted = right_size(labelled(*[(0.04, 0.0)] * 200, noise=0.3), TIERS, 0.05)
    assert doubted.tiers[0].loss == pytest.approx(0.04 / 0.7) and doubted.smallest == "mid"


def test_gains_over_the_reference_are_losses_below_nothing() -> None:
    found = right_size(labelled(*[(-0.2, 0.0)] * 300), TIERS, 0.02)
    assert found.tiers[0].loss == pytest.approx(-0.2) and found.proven == "small"


def test_a_ladder_of_one_rung_has_one_size() -> None:
    found = right_size([], ("large",), 0.03)
    assert (found.smallest, found.lacking, found.tiers) == ("large", None, ())
