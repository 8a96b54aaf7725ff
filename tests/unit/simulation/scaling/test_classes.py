"""Workload classes: who may sleep, who is woken when, and who stays warm."""

from typing import Any

import pytest

from penstock.domain.simulation.scaling.classes import (
    BACKGROUND,
    DAY_S,
    HOUR_S,
    INTERACTIVE,
    NIGHTLY,
    SCHEDULED,
    WEBHOOK,
    WORKLOADS,
    Warm,
    Workload,
    find_workload,
    wrapped,
)  # fmt: skip
from penstock.domain.simulation.scaling.fixed import Static
from penstock.domain.simulation.scaling.keda import KedaArticle
from penstock.domain.simulation.scaling.thresholds import Queue
from tests.unit.simulation.scaling.told import changes, played, signals

QUIET: list[dict[str, Any]] = [{}]


def test_people_never_find_the_fleet_asleep() -> None:
    assert played(wrapped(KedaArticle(), INTERACTIVE), 1, QUIET * 400) == [1] * 400
    assert played(KedaArticle(), 1, QUIET * 400)[-1] == 0


def test_what_must_be_there_whatever_comes() -> None:
    assert wrapped(Queue(), INTERACTIVE).least(0.0) == 1 and wrapped(Queue(), BACKGROUND).least(0.0) == 0
    nightly = wrapped(Queue(), NIGHTLY, cold_start_s=600, midnight_s=12 * HOUR_S)
    assert [nightly.least(hour * HOUR_S) for hour in (0, 12.8, 12.9, 14, 17.1)] == [0, 0, 1, 1, 0]


def test_background_work_sleeps_when_idle_for_its_time_and_wakes_for_one_request() -> None:
    counts = played(wrapped(Queue(), BACKGROUND), 2, QUIET * 40 + [{"waiting": 1}] + QUIET * 40)
    assert changes(counts) == [2, 0, 1, 0]
    assert counts.index(0) * 15 == 300 and counts[40] == 1 and counts[60] == 1 and counts[61] == 0


def test_work_that_runs_keeps_it_awake() -> None:
    assert played(wrapped(Queue(), BACKGROUND), 1, [{"running": 1}] * 400) == [1] * 400
    assert played(wrapped(Queue(), BACKGROUND), 1, [{"arrivals": 1}, *QUIET * 19] * 20) == [1] * 400


def test_what_waits_is_not_what_the_policy_must_see() -> None:
    assert wrapped(Static(replicas=0), BACKGROUND).begin().desired(signals(0, 0, waiting=1)) == 1
    assert wrapped(Static(replicas=5), BACKGROUND).begin().desired(signals(0, 0)) == 0


def up_from(workload: Workload, cold_start_s: float, midnight_s: float = 0.0) -> list[float]:
    """Seconds at which the fleet, without traffic, comes to life or goes to sleep."""
    policy = wrapped(Static(replicas=0, interval_s=60), workload, cold_start_s, midnight_s)
    counts = played(policy, 0, QUIET * int(DAY_S / 60))
    return [60.0 * at for at in range(1, len(counts)) if bool(counts[at]) != bool(counts[at - 1])]


def test_a_night_batch_is_warm_a_cold_start_ahead_and_sleeps_after() -> None:
    assert up_from(NIGHTLY, 300) == [HOUR_S - 300, 5 * HOUR_S]
    assert up_from(NIGHTLY, 300, midnight_s=23 * HOUR_S) == [2 * HOUR_S - 300, 6 * HOUR_S]


def test_webhooks_are_warm_by_day_and_schedules_at_their_hours() -> None:
    assert up_from(WEBHOOK, 180) == [8 * HOUR_S - 180, 20 * HOUR_S]
    assert up_from(SCHEDULED, 180) == [at for hour in (6, 12, 18) for at in (hour * HOUR_S - 180, (hour + 1) * HOUR_S)]


def test_hours_may_go_over_midnight() -> None:
    late = Workload(name="late", words="", least=0, keep_warm_s=60, warm=(Warm(from_s=22 * HOUR_S, until_s=2 * HOUR_S, replicas=3),))
    policy = wrapped(Static(replicas=0), late, 0)
    wanted = {hour: policy.begin().desired(signals(hour * HOUR_S, 0)) for hour in (1, 3, 21, 23, 25)}
    assert wanted == {1: 3, 3: 0, 21: 0, 23: 3, 25: 3}


def test_a_class_is_found_by_its_name_or_the_nearest_is_said() -> None:
    assert [find_workload(each.name) for each in WORKLOADS] == list(WORKLOADS)
    with pytest.raises(LookupError, match="the nearest: webhook"):
        find_workload("webhok")
    assert wrapped(Queue(), WEBHOOK).name == "queue, webhook"
