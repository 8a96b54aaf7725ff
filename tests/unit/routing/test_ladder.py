"""Whether a ladder is sane: dominated rungs, break-even rates, and what a blend costs."""

from collections.abc import Sequence

import pytest

from penstock.domain.ledger.routed import Observation, Seen
from penstock.domain.routing.ladder import (
    blended_cost,
    break_even,
    break_evens,
    course_cost,
    relative_costs,
    rungs_of,
    wilson,
)


def observed(at: int, tiers: dict[str, tuple[float | None, int | None]], propensity: float = 1.0) -> Observation:
    seen = tuple(Seen(tier=tier, quality=quality, cost=cost) for tier, (quality, cost) in tiers.items())
    return Observation(id=f"r{at}", at_ns=at, route="auto", tag="chat", seen=seen, judge="check", propensity=propensity)


def graded(right: Sequence[tuple[float, ...]], costs: Sequence[int], names: Sequence[str] = ("small", "mid", "large")) -> list[Observation]:
    return [observed(at, dict(zip(names, zip(row, costs, strict=True), strict=True))) for at, row in enumerate(right)]


def test_a_rung_below_the_hull_of_two_others_is_named_with_the_coin_that_beats_it() -> None:
    right = [(at % 10 < 6, at % 10 < 6 or at % 50 == 9, at % 10 < 9) for at in range(400)]
    small, mid, large = rungs_of(graded([tuple(map(float, row)) for row in right], (10, 60, 100)), ("small", "mid", "large"))
    assert (small.quality, large.quality) == (0.6, 0.9)
    assert mid.dominated is not None and mid.dominated.doubt == "proven"
    assert [tier for tier, _ in mid.dominated.by] == ["small", "large"]
    assert mid.dominated.why.startswith("a coin that sends 44% small and 56% large answers better by 14.")
    assert small.dominated is None and large.dominated is None


def test_a_rung_that_costs_more_than_a_better_one_is_dominated_by_it_alone() -> None:
    right = [(1.0, 1.0, float(at % 5 != 0)) for at in range(100)]
    *_, last = rungs_of(graded(right, (10, 20, 100)), ("small", "mid", "large"))
    assert last.dominated is not None
    assert last.dominated.by == (("small", 1.0),), "the reference, too, may be dominated: a small tier is as good as any here"
    assert last.dominated.why == "small answers better by 20.0% and costs 10% of large"


def test_a_rung_that_is_as_good_and_dearer_is_dominated_and_one_as_cheap_is_not() -> None:
    right = [(float(at % 4 != 0),) * 2 for at in range(80)]
    cheap, dear = rungs_of(graded(right, (10, 20), ("a", "b")), ("a", "b"))
    assert dear.dominated is not None and dear.dominated.why == "a answers as well and costs 50% of b"
    assert cheap.dominated is None
    assert [rung.dominated for rung in rungs_of(graded(right, (10, 10), ("a", "b")), ("a", "b"))] == [None, None]


def test_little_evidence_makes_it_likely_not_proven() -> None:
    right = [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)]
    _, dear = rungs_of(graded(right, (10, 20), ("a", "b")), ("a", "b"))
    assert dear.dominated is not None and dear.dominated.doubt == "likely"


def test_a_tier_without_evidence_is_unknown_and_does_not_hide_the_others() -> None:
    small, new, large = rungs_of(graded([(1.0, 1.0)] * 4, (10, 100), ("small", "large")), ("small", "new", "large"))
    assert (new.answers, new.quality, new.cost, new.low) == (0, None, None, None)
    assert (small.answers, small.quality, large.cost) == (4, 1.0, 100)


def test_unknown_prices_and_undecided_judges_leave_rows_out() -> None:
    rows = [observed(1, {"a": (1.0, 5), "b": (1.0, 10)}), observed(2, {"a": (0.0, None), "b": (1.0, 10)})]
    a, b = rungs_of([*rows, observed(3, {"a": (None, 5), "b": (0.0, 10)})], ("a", "b"))
    assert (a.answers, a.quality, b.quality) == (1, 1.0, 1.0)
    unpriced = rungs_of([observed(1, {"a": (1.0, None), "b": (1.0, 10)})], ("a", "b"))
    assert unpriced[0].quality is None and unpriced[1].quality == 1.0
    assert [rung.answers for rung in rungs_of([], ("a", "b"))] == [0, 0]


def test_a_request_counts_for_what_it_stands_for() -> None:
    rows = [observed(1, {"a": (0.0, 5), "b": (1.0, 10)}, 0.05), observed(2, {"a": (1.0, 5), "b": (1.0, 10)}, 0.95)]
    assert rungs_of(rows, ("a", "b"))[0].quality == pytest.approx((1 / 0.95) / (1 / 0.95 + 20))


def test_the_interval_of_few_flawless_answers_is_wide() -> None:
    assert list(wilson(1.0, 4)) == pytest.approx([0.51, 1.0], abs=0.001)
    assert list(wilson(0.9, 1_000)) == pytest.approx([0.880, 0.917], abs=0.001)


def test_a_cascade_pays_up_to_one_minus_the_ratio_of_costs() -> None:
    assert break_even([0.05], 0.30) == pytest.approx(0.8333, abs=1e-4), "against the balanced tier"
    assert break_even([0.05], 1.0) == pytest.approx(0.95), "against the frontier"
    assert break_even([0.05, 0.30], 1.0) == pytest.approx(0.65), "a gate pays for both of its tiers"
    assert break_even([0.7, 0.6], 1.0) < 0, "such a gate never pays"
    with pytest.raises(ValueError, match="costs nothing"):
        break_even([0.0], 0.0)


def test_every_cascade_and_gate_of_a_ladder_has_its_rate() -> None:
    found = break_evens([("fast", 0.05), ("balanced", 0.30), ("frontier", 1.0)])
    rates = {(each.kind, each.tiers, each.target): round(each.escalation, 4) for each in found}
    assert rates == {
        ("cascade", ("fast",), "balanced"): 0.8333,
        ("cascade", ("fast",), "frontier"): 0.95,
        ("cascade", ("balanced",), "frontier"): 0.7,
        ("gate", ("fast", "balanced"), "frontier"): 0.65,
    }
    assert not any(each.folk_fits for each in found), "the folk alarm at 30 to 40 % is right for none of them"
    assert break_evens([("free", 0.0), ("own", 0.0)]) == ()


def test_the_folk_alarm_is_right_where_the_cheap_tier_costs_two_thirds_of_the_next() -> None:
    (fits,) = break_evens([("a", 0.65), ("b", 1.0)])
    assert fits.folk_fits
    (half,) = break_evens([("a", 0.5), ("b", 1.0)])
    assert not half.folk_fits and half.escalation == 0.5


def test_a_cascade_costs_its_stages_by_how_many_come_to_them() -> None:
    assert [course_cost((0.05, 0.30), (1, rate)) for rate in (0.30, 0.35, 0.40)] == pytest.approx([0.140, 0.155, 0.170])
    assert course_cost((0.05, 0.30, 1.0), (1, 0.4, 0.1)) == pytest.approx(0.05 + 0.4 * (0.30 + 0.25))
    assert course_cost((1.0,), (1,)) == 1.0
    assert course_cost((0.05, 1.0), (1, break_even([0.05], 1.0))) == pytest.approx(1.0), "at the break-even it costs what the target does"


def test_blended_traffic_costs_what_the_articles_should_have_said() -> None:
    mix, prices = (0.6, 0.3, 0.1), (0.002, 0.008, 0.030)
    assert blended_cost(mix, prices) == pytest.approx(0.0066)
    assert 0.030 / blended_cost(mix, prices) == pytest.approx(4.55, abs=0.005)
    assert blended_cost(mix, prices, beside=0.001) == pytest.approx(0.0076)
    assert 0.030 / blended_cost(mix, prices, beside=0.001) == pytest.approx(3.95, abs=0.005)
    assert 1 / blended_cost(mix, (0.05, 0.30, 1.0)) == pytest.approx(4.55, abs=0.005)


def test_what_a_split_saves_goes_by_tokens_not_by_requests() -> None:
    assert blended_cost((0.6, 0.4), (0.05, 1.0)) == pytest.approx(0.43)
    assert blended_cost((0.6, 0.4), (0.05 * 15, 15)) == pytest.approx(6.45)
    assert blended_cost((0.6, 0.4), (0.60, 15)) == pytest.approx(6.36)
    labels, answers = 0.6 * 10, 0.4 * 500
    assert 1 - blended_cost((labels, answers), (0.05, 1.0)) == pytest.approx(0.028, abs=0.0005), "ten-token labels are little of the bill"


def test_relative_costs_are_unknown_where_a_price_is() -> None:
    assert relative_costs((5.0, None, 100.0)) == (0.05, None, 1.0)
    assert relative_costs((5.0, 0.0)) == (None, None)
    assert relative_costs(()) == ()
