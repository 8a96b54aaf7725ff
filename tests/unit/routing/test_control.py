"""A router against the best fixed split at its cost."""

from math import inf

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.domain.routing.control import against_fixed_split, best_split

Array = NDArray[np.float64]
QUALITY = (0.6, 0.7, 0.9)
COST = (1.0, 5.0, 10.0)


def test_a_split_mixes_the_two_ends_of_the_hull_and_skips_what_is_below_it() -> None:
    split, quality = best_split(QUALITY, COST, 5.5)
    assert [tier for tier, _ in split] == [0, 2]
    assert [share for _, share in split] == pytest.approx([0.5, 0.5])
    assert quality == pytest.approx(0.75), "the middle tier costs 5 and reaches .7: a coin between the others does better"


def test_a_split_may_cost_less_than_it_is_allowed() -> None:
    assert best_split(QUALITY, COST, 40.0) == (((2, 1.0),), 0.9)
    assert best_split((0.9, 0.4), (1.0, 10.0), 7.0) == (((0, 1.0),), 0.9), "a dear tier that is worse is no part of any split"


def test_the_cheapest_tier_is_the_control_of_a_router_that_is_cheaper_than_all() -> None:
    assert best_split(QUALITY, COST, 0.2) == (((0, 1.0),), 0.6)


def test_tiers_of_the_same_cost_do_not_divide_by_nothing() -> None:
    assert best_split((0.5, 0.8), (2.0, 2.0), 2.0) == (((1, 1.0),), 0.8)
    assert best_split((0.5, 0.8), (2.0, 2.0), 1.0) == (((1, 1.0),), 0.8)


def table(n: int, seed: int) -> tuple[Array, Array]:
    """A cheap tier that is right on 60 % and a dear one on 90 % of requests; costs that vary."""
    rng = np.random.default_rng(seed)
    right = np.column_stack((rng.random(n) < 0.6, rng.random(n) < 0.9)).astype(float)
    cost = np.column_stack((rng.uniform(0.5, 1.5, n), rng.uniform(5, 15, n)))
    return right, cost


def routed(right: Array, cost: Array, dear: NDArray[np.bool_]) -> tuple[Array, Array]:
    at = dear.astype(int)
    rows = np.arange(len(right))
    return right[rows, at], cost[rows, at]


def test_a_router_that_knows_where_the_cheap_tier_fails_wins() -> None:
    right, cost = table(2_000, 1)
    quality, paid = routed(right, cost, right[:, 0] == 0)
    control = against_fixed_split(quality, paid, right, cost, np.random.default_rng(7))
    assert control.verdict == "wins"
    assert control.low < control.gain < control.high
    assert control.split[0][0] == 0 and control.split[1][1] == pytest.approx(0.4, abs=0.05), "it spends as much as a coin of 40 %"


def test_a_router_that_sends_the_wrong_ones_to_the_cheap_tier_loses() -> None:
    right, cost = table(2_000, 2)
    quality, paid = routed(right, cost, right[:, 0] == 1)
    assert against_fixed_split(quality, paid, right, cost, np.random.default_rng(7)).verdict == "loses"


def test_a_coin_neither_wins_nor_loses() -> None:
    verdicts = []
    for seed in range(40):
        right, cost = table(400, seed)
        quality, paid = routed(right, cost, np.random.default_rng(1000 + seed).random(400) < 0.5)
        verdicts.append(against_fixed_split(quality, paid, right, cost, np.random.default_rng(seed)).verdict)
    assert verdicts.count("undecided") >= 34


def test_the_normal_approximation_agrees_with_the_bootstrap() -> None:
    right, cost = table(1_500, 3)
    quality, paid = routed(right, cost, np.random.default_rng(5).random(1_500) < 0.3)
    resampled = against_fixed_split(quality, paid, right, cost, np.random.default_rng(7))
    normal = against_fixed_split(quality.tolist(), paid.tolist(), right.tolist(), cost.tolist())
    assert normal.gain == resampled.gain and normal.split == resampled.split
    assert normal.low == pytest.approx(resampled.low, abs=0.004) and normal.high == pytest.approx(resampled.high, abs=0.004)


def test_the_same_seed_gives_the_same_interval() -> None:
    right, cost = table(200, 4)
    quality, paid = routed(right, cost, right[:, 0] == 0)
    first = against_fixed_split(quality, paid, right, cost, np.random.default_rng(9))
    assert first == against_fixed_split(quality, paid, right, cost, np.random.default_rng(9))


def test_requests_that_stand_for_many_weigh_as_many() -> None:
    right, cost = table(300, 5)
    quality, paid = routed(right, cost, right[:, 0] == 0)
    weights = np.where(np.arange(300) % 3 == 0, 4.0, 1.0)
    times = weights.astype(int)
    weighed = against_fixed_split(quality, paid, right, cost, weights=weights)
    quality, paid, right, cost = (np.repeat(each, times, axis=0) for each in (quality, paid, right, cost))
    repeated = against_fixed_split(quality, paid, right, cost)
    assert weighed.gain == pytest.approx(repeated.gain)
    assert weighed.high - weighed.low > repeated.high - repeated.low, "one request is one observation, however many it stands for"


def test_one_request_proves_nothing_and_none_is_an_error() -> None:
    single = against_fixed_split([1.0], [1.0], [[0.0, 1.0]], [[1.0, 10.0]])
    assert (single.gain, single.low, single.high, single.verdict) == (1.0, -inf, inf, "undecided")
    with pytest.raises(ValueError, match="no request"):
        against_fixed_split([], [], [], [])
