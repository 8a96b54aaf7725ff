"""The law of a HorizontalPodAutoscaler, and what its metrics make of an LLM fleet."""

import pytest

from penstock.domain.simulation.scaling.horizontal import HpaCpu, HpaGpu, HpaRam, HpaRequests, KvUse, Tokens, average_value, proportional
from tests.unit.simulation.scaling.told import changes, played, signals


@pytest.mark.parametrize(
    ("replicas", "value", "target", "wanted"),
    [(4, 30, 70, 2), (10, 30, 70, 5), (4, 77, 70, 4), (4, 78, 70, 5), (4, 63, 70, 4), (4, 62, 70, 4), (8, 62, 70, 8), (9, 62, 70, 8)],
)
def test_replicas_times_value_over_target_outside_a_tenth(replicas: int, value: float, target: float, wanted: int) -> None:
    assert proportional(replicas, value, target, 0.1) == wanted


def test_an_average_value_is_divided_by_the_target_alone() -> None:
    assert [average_value(2, total, 70, 0.1) for total in (0, 30, 70, 100)] == [0, 1, 1, 2]
    assert average_value(19, 1901, 100, 0.1) == 19 and average_value(17, 1901, 100, 0.1) == 20


def test_on_cpu_a_fleet_shrinks_under_any_load() -> None:
    counts = played(HpaCpu(), 10, [{"waiting": 500, "active": 1.0}] * 90)
    assert changes(counts) == [10, 5, 3, 2, 1] and counts.index(5) * 15 == 300


def test_on_ram_a_fleet_does_not_grow_under_any_load() -> None:
    assert max(played(HpaRam(), 4, [{"waiting": 500, "active": 1.0, "kv_use": 1.0}] * 60)) == 4


def test_on_requests_long_ones_count_as_short_ones() -> None:
    assert played(HpaRequests(), 2, [{"waiting": 100, "running": 60}])[0] == 5
    assert played(HpaRequests(), 2, [{"running": 64, "tokens_in_flight": 10**6}])[0] == 2


def test_gpu_use_cannot_ask_for_more_than_its_target_allows() -> None:
    assert played(HpaGpu(), 10, [{"active": 1.0, "waiting": 10**6}])[0] == 15


def test_tokens_that_wait_count_and_memory_in_use_ends_at_one() -> None:
    waits = {"tokens_in_flight": 14_000, "kv_use": 1.0, "waiting": 50}
    assert played(Tokens(), 2, [waits])[0] == 6  # wants 20; at first no more than four pods are added
    assert played(KvUse(), 2, [waits])[0] == 4


def test_nothing_is_asked_for_twice_while_replicas_start() -> None:
    scaler = Tokens().begin()
    assert scaler.desired(signals(0, 2, tokens_in_flight=2800)) == 4
    assert scaler.desired(signals(15, 2, starting=2, tokens_in_flight=2800)) == 4
    assert scaler.desired(signals(30, 2, starting=2, tokens_in_flight=8400)) == 8


def test_an_autoscaler_is_off_at_zero_and_keeps_what_starts() -> None:
    assert Tokens().begin().desired(signals(0, 0, waiting=9, tokens_in_flight=900)) == 0
    assert Tokens().begin().desired(signals(0, 0, starting=3, waiting=9)) == 3
