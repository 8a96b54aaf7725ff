"""A published KEDA rule as it is written, and made right."""

from typing import Any

from penstock.domain.simulation.scaling.keda import Keda, KedaArticle, KedaRight, Trigger
from tests.unit.simulation.scaling.told import changes, played, signals

BUSY: dict[str, Any] = {"active": 1.0, "running": 256, "kv_use": 1.0}


def test_mean_gpu_use_as_an_average_never_asks_for_a_third_replica() -> None:
    assert max(played(KedaArticle(), 1, [BUSY | {"waiting": 100}] * 200)) == 2


def test_twenty_replicas_need_1901_waiting_requests() -> None:
    assert max(played(KedaArticle(tolerance=0), 1, [BUSY | {"waiting": 1900}] * 200)) == 19
    assert max(played(KedaArticle(tolerance=0), 1, [BUSY | {"waiting": 1901}] * 200)) == 20
    assert changes(played(KedaArticle(), 1, [BUSY | {"waiting": 9000}] * 60)) == [1, 5, 9, 13, 17, 20]


def test_one_waiting_request_never_wakes_the_fleet_of_the_article() -> None:
    assert played(KedaArticle(), 0, [{"waiting": 1}] * 400) == [0] * 400
    assert played(KedaArticle(), 0, [{"waiting": 2}])[0] == 1
    assert played(KedaRight(), 0, [{"waiting": 1}])[0] == 1


def test_use_of_the_pods_is_unknown_without_pods() -> None:
    gpu = Keda(name="gpu", triggers=(Trigger(metric="gpu", threshold=70, activation=5),))
    assert gpu.begin().desired(signals(0, 0, active=1.0)) == 0
    assert gpu.begin().desired(signals(0, 0, starting=2)) == 2


def test_the_cooldown_goes_to_zero_past_window_and_percent() -> None:
    ticks: list[dict[str, Any]] = [BUSY | {"waiting": 1200}] * 40 + [{}] * 21
    counts = played(KedaArticle(), 1, ticks)
    assert counts[39] == 12 and counts[59] == 12 and counts[60] == 0


def test_a_least_number_keeps_it_from_zero() -> None:
    assert played(KedaArticle(least=2), 2, [{}] * 400) == [2] * 400


def test_made_right_it_follows_the_queue_and_stays_awake_longer() -> None:
    assert max(played(KedaRight(), 1, [BUSY | {"waiting": 100}] * 200)) == 20
    assert played(KedaRight(), 1, [BUSY | {"waiting": 55}])[0] == 5
    assert played(KedaRight(), 1, [{}] * 60)[-1] == 1 and played(KedaRight(), 1, [{}] * 62)[-1] == 0
