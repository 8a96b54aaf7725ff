"""What bets prove, and when they ring."""

import random
from math import inf

import pytest

from penstock.domain.routing.proving.betting import DELTA, Alarm, at_most, is_proven, labels_needed


def coin(dice: random.Random, share: float, count: int) -> list[float]:
    return [float(dice.random() < share) for _ in range(count)]


def test_losses_that_never_come_prove_a_bound_after_some_labels() -> None:
    assert not is_proven([0.0] * 20, 0.03)
    assert is_proven([0.0] * 400, 0.03)


def test_a_mean_on_the_bound_is_hardly_ever_called_proven_however_often_one_looks() -> None:
    dice = random.Random(1)
    proven = sum(is_proven(coin(dice, 0.05, 1_500), 0.05) for _ in range(400))
    assert proven <= 400 * DELTA * 1.25


def test_gains_make_up_for_losses() -> None:
    dice = random.Random(2)
    mixed = [dice.choice((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)) for _ in range(4_000)]
    assert is_proven(mixed, 0.1)
    assert not is_proven([abs(each) for each in mixed], 0.1)


def test_the_least_bound_that_is_proven_shrinks_with_labels() -> None:
    few, many = at_most([0.0] * 100), at_most([0.0] * 1_500)
    assert few is not None
    assert many is not None
    assert many < few
    assert at_most([1.0] * 50) is None
    assert at_most([]) is None


def test_an_alarm_is_silent_for_long_while_the_budget_is_kept() -> None:
    dice = random.Random(3)
    alarm, rings = Alarm(0.05), 0
    for loss in coin(dice, 0.05, 30_000):
        rings += alarm.heard(loss) is not None
    assert rings <= 30


def test_an_alarm_rings_soon_after_a_change_and_tells_since_when() -> None:
    delays = []
    for seed in range(20):
        dice, alarm = random.Random(seed), Alarm(0.03)
        assert all(alarm.heard(loss) is None for loss in coin(dice, 0.0, 300))
        for number, loss in enumerate(coin(dice, 0.3, 500), 1):
            since = alarm.heard(loss)
            if since is not None:
                assert since <= number + 5
                delays.append(number)
                break
    assert len(delays) == 20
    assert sum(delays) / 20 < 60


def test_an_alarm_that_rang_begins_anew() -> None:
    alarm = Alarm(0.03)
    first = next(number for number in range(1, 200) if alarm.heard(1.0) is not None)
    second = next(number for number in range(1, 200) if alarm.heard(1.0) is not None)
    assert first == second


@pytest.mark.parametrize(("bound", "loss"), [(0.03, 0.03), (0.03, 0.2)])
def test_no_number_of_labels_proves_what_is_not_so(bound: float, loss: float) -> None:
    assert labels_needed(bound, loss) == inf


def test_labels_needed_are_about_what_it_takes() -> None:
    needed = labels_needed(0.05, 0.0)
    taken = next(count for count in range(1, 2_000) if is_proven([0.0] * count, 0.05))
    assert needed / 2 < taken < needed * 2
    assert labels_needed(0.05, 0.03) > labels_needed(0.05, 0.01) > needed
