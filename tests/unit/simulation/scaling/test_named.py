"""Policies by name and parameters, and what is said of wrong ones."""

import pytest

from penstock.domain.simulation.scaling.forecast import Forecast
from penstock.domain.simulation.scaling.named import PolicyError, find_policy, policies
from penstock.domain.simulation.scaling.thresholds import Queue
from tests.unit.simulation.scaling.told import signals

MANY = (
    "static", "queue", "ttft", "tokens", "kv", "forecast", "utilization", "hpa_cpu", "hpa_ram", "hpa_requests", "hpa_gpu", "keda_article",
    "keda_right",
)  # fmt: skip


def test_every_policy_has_words_a_name_parameters_and_an_answer() -> None:
    assert tuple(policies()) == MANY
    for name, named in policies().items():
        policy = find_policy(name)
        assert policy.name == name and named.words and policy.interval_s > 0
        assert "interval_s" in named.parameters() and "name" not in named.parameters()
        assert policy.begin().desired(signals(15, 2, running=3, active=0.5)) >= 1


def test_parameters_are_numbers_and_times() -> None:
    assert find_policy("queue") == Queue()
    assert find_policy("queue:up=20, up_for=90s,down_for_s=10m") == Queue(
        name="queue:up=20, up_for=90s,down_for_s=10m", up=20, up_for_s=90, down_for_s=600
    )
    told = find_policy("forecast:hold=1h,quantile=0.95,rps_per_replica=2.5")
    assert isinstance(told, Forecast) and (told.hold_s, told.quantile, told.rps_per_replica) == (3600, 0.95, 2.5)
    assert find_policy("hpa-cpu").name == "hpa_cpu"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("forcast", "no scaling policy `forcast`", "forecast"),
        ("", "no scaling policy", "static, queue, ttft"),
        ("queue:upp=3", "no parameter `upp`", "up=10, up_for=60, down=2"),
        ("queue:up", "`up` is no parameter=value", "up=10"),
        ("queue:up=many", "`up=many` says nothing", "a number, more than 0"),
        ("queue:up=-1", "`up=-1` says nothing", "more than 0"),
        ("queue:up=inf", "`up=inf` says nothing", "more than 0"),
        ("queue:step=1.5", "`step=1.5` says nothing", "a whole number"),
        ("queue:up_for=2d", "`up_for=2d` says nothing", "a time such as 90, 90s or 5m, 0 or more"),
        ("queue:interval=0", "`interval=0` says nothing", "more than 0"),
        ("keda_right:triggers=3", "no parameter `triggers`", "cooldown=900"),
        ("forecast:cost=0.5", "cannot work: a ratio of costs is 1 at least", "leave out"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_way_out(text: str, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as refused:
        find_policy(text)
    assert message in str(refused.value) and hint in refused.value.hint
