"""The law on plain series: what is anomalous, what is not, when it begins and ends, and that nothing excuses itself."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.domain.budgets.anomalies import BY_MINUTES, Anomaly, Detector, Leaf
from penstock.domain.budgets.baseline import Cell, Series, weekend

LEAF: Leaf = ("search", "rank", "small")
BEGIN = 20_412 * 24
"""an hour: midnight of a Thursday"""
DAYS = 21
NOW = BEGIN + DAYS * 24
USD = 10**9


class Traffic:
    """A feature with a day and a week, and what is beside it; cells of five minutes."""

    def __init__(self, seed: int = 1, an_hour: float = 240.0) -> None:
        self.dice, self.an_hour = random.Random(seed), an_hour
        self.detector = Detector()
        for hour in range(BEGIN, NOW):
            self.detector.know(hour, {LEAF: self.cell(hour, 1.0), ("other", "other", "small"): self.cell(hour, 1.0)})

    def rate(self, hour: int) -> float:
        """Requests an hour: busy days, quiet nights and weekends."""
        return self.an_hour * (1.0 if 8 <= hour % 24 < 18 else 0.2) * (0.3 if weekend(hour) else 1.0)

    def cell(
        self,
        hour: int,
        part: float = 1 / 12,
        times: float = 1.0,
        price: float = 1.0,
        size: float = 1.0,
        held: float = 0.5,
        lost: float = 0.0,
    ) -> Cell:
        """`times` as many requests, at `price` and `size` beside the usual ones; `held` by a cache, `lost` of the cost to failures."""
        mean = self.rate(hour) * part * times
        requests = max(round(self.dice.gauss(mean, mean**0.5)), 0)
        tokens = round(requests * 1000 * size * self.dice.uniform(0.9, 1.1))
        cost = round(tokens * 10_000 * price * (1.55 - held))
        return Cell(requests, cost, tokens, tokens, tokens * 8 // 10, round(tokens * 0.8 * held), round(cost * lost))

    def watch(self, cells: int, first: int = 0, leaf: Leaf = LEAF, **changed: Any) -> Iterator[list[Anomaly]]:
        """So many cells from the cell `first` after `NOW` on, changed as told."""
        for index in range(NOW * 12 + first, NOW * 12 + first + cells):
            if index % 12 == 0 and index > NOW * 12:
                self.detector.know(
                    index // 12 - 1, {LEAF: self.cell(index // 12 - 1), ("other", "other", "small"): self.cell(index // 12 - 1)}
                )
            told = {leaf: self.cell(index // 12, **changed)}
            yield self.detector.step(index, [told])


def found(traffic: Traffic, first: int = 120, cells: int = 12, **changed: Any) -> list[Anomaly]:
    """What is found from ten in the morning on (a quiet stretch goes before)."""
    for _ in traffic.watch(first):
        pass
    return list({id(each): each for told in traffic.watch(cells, first, **changed) for each in told}.values())


@pytest.mark.parametrize(
    ("metric", "changed"),
    [
        ("requests", {"times": 6.0}),
        ("spend", {"times": 6.0}),
        ("cp1kt", {"price": 1.5}),
        ("tokens_per_request", {"size": 3.0}),
        ("cache_rate", {"held": 0.05}),
        ("error_cost", {"lost": 0.7, "times": 2.0}),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_each_metric_is_found_within_a_quarter_of_an_hour(metric: str, changed: dict[str, Any], seed: int) -> None:
    [anomaly] = found(Traffic(seed), **changed)
    assert metric in anomaly.metrics
    assert anomaly.found - (NOW * 12 + 120) < 3
    assert abs(anomaly.begin - (NOW * 12 + 120)) <= 1
    assert anomaly.end is None and anomaly.score > 4


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("an_hour", [3.0, 40.0, 900.0])
def test_an_ordinary_week_is_quiet(seed: int, an_hour: float) -> None:
    assert [each for told in Traffic(seed, an_hour).watch(7 * 288) for each in told] == []


def test_a_morning_is_no_anomaly_and_neither_is_a_fifth_more() -> None:
    assert found(Traffic(), 0, 288, times=1.2) == []


def test_a_single_odd_cell_is_told_of_nobody() -> None:
    assert found(Traffic(), cells=1, times=15.0) == []


def test_what_costs_next_to_nothing_is_no_anomaly() -> None:
    traffic = Traffic()
    for hour in range(BEGIN, NOW):  # its cost is a millionth of what everything costs
        traffic.detector.know(hour, {("small", "thing", "small"): Cell(10, 100, 10, 10, 8, 0, 0), LEAF: traffic.cell(hour)})
    told = [traffic.detector.step(NOW * 12 + n, [{("small", "thing", "small"): Cell(200, 2000, 200, 200, 160, 0, 0)}]) for n in range(12)]
    assert not any(told)


def test_it_ends_after_a_quiet_while_with_its_last_odd_cell() -> None:
    traffic = Traffic()
    [anomaly] = found(traffic, cells=6, times=8.0)
    ends = [told for told in traffic.watch(BY_MINUTES.quiet, 126) if told and told[0].end is not None]
    assert len(ends) == 1 and anomaly.end == NOW * 12 + 126
    assert anomaly.cell.cost - anomaly.expected.cost == pytest.approx(7 / 8 * anomaly.cell.cost, rel=0.15)


def test_what_comes_again_soon_is_the_same_anomaly() -> None:
    traffic = Traffic()
    [anomaly] = found(traffic, cells=6, times=8.0)
    for _ in traffic.watch(12, 126):
        pass
    again = [told for told in traffic.watch(6, 138, times=8.0) if told]
    assert again and all(told == [anomaly] for told in again)


def test_much_worse_is_another_anomaly() -> None:
    traffic = Traffic()
    [first] = found(traffic, cells=24, times=4.0)
    told = [each for step in traffic.watch(6, 144, times=40.0) for each in step]
    assert first in told and first.end is not None and told[-1] is not first and told[-1].end is None


def test_a_runaway_is_no_excuse_for_itself_until_a_week_is_over() -> None:
    traffic, leaf = Traffic(), LEAF
    steps = {}
    for index in range(NOW * 12, (NOW + 8 * 24) * 12):
        if index % 12 == 0 and index > NOW * 12:
            traffic.detector.know(index // 12 - 1, {leaf: traffic.cell(index // 12 - 1, 1.0, times=6.0)})
        for each in traffic.detector.step(index, [{leaf: traffic.cell(index // 12, times=6.0)}]):
            steps[each.begin] = each
    [anomaly] = steps.values()
    assert anomaly.stayed and anomaly.end is not None
    assert 7 * 288 <= anomaly.end - anomaly.begin < 7 * 288 + 24


def test_a_new_model_that_takes_over_is_told_of_by_its_price_alone() -> None:
    """The feature is known, so the model was usually not used; what it takes from the others is not told as spend of its own."""
    moved: Leaf = ("search", "rank", "huge")
    traffic = Traffic()
    for _ in traffic.watch(120):
        pass
    same = [each for told in traffic.watch(12, 120, leaf=moved) for each in told]
    assert same == [], "as many tokens at the same price"
    dear = {id(each): each for told in traffic.watch(12, 132, leaf=moved, price=5.0) for each in told}
    assert [each.metrics[0] for each in dear.values()] in (["spend"], ["cp1kt"])


def test_feedback_moves_the_threshold() -> None:
    traffic = Traffic()
    traffic.detector._factor = lambda scope, metric: 4.0
    assert found(traffic, price=1.5) == []


def test_nothing_is_judged_before_something_is_known() -> None:
    detector = Detector()
    detector.know(BEGIN, {LEAF: Cell(10, USD, 100, 100, 80, 0, 0)})
    assert not any(detector.step((BEGIN + 1) * 12 + n, [{LEAF: Cell(500, 50 * USD, 5000, 5000, 4000, 0, 0)}]) for n in range(12))


def test_the_rhythm_is_that_of_the_week() -> None:
    left_out: set[int] = set()
    series = Series(BEGIN, left_out)
    for hour in range(BEGIN, NOW):
        busy = 100 if hour % 24 == 9 and not weekend(hour) else 10
        series.put(hour, Cell(busy, busy * USD, busy, busy, busy, 0, 0))
    series.fit(NOW)
    usual = {at: series.usual(NOW + at) for at in (9, 10, 48 + 9)}  # Thursday, and Saturday
    assert [each.requests for each in usual.values() if each is not None] == pytest.approx([100, 10, 10])
    left_out.update(range(NOW - 24, NOW))
    series.put(NOW - 15, Cell(9000, 9000 * USD, 9000, 9000, 9000, 0, 0))
    series.fit(NOW + 48)
    again = series.usual(NOW + 9)
    assert again is not None and again.requests == pytest.approx(100), "an hour that is left out says nothing"
