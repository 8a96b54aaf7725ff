"""Objectives as they are written."""

import pytest

from penstock.domain.simulation.slo import Objective, SloError, parse_slo


def test_objectives_are_read() -> None:
    assert parse_slo("ttft_p95=2s").objectives == (Objective("ttft", 95, 2.0),)
    assert parse_slo(" ttft_p95 = 2s, TPOT_P99<=50ms ; e2e_p99.9=1m,").objectives == (
        Objective("ttft", 95, 2.0),
        Objective("tpot", 99, 0.05),
        Objective("e2e", 99.9, 60.0),
    )
    assert [each.name for each in parse_slo("e2e_p99.9=1m,ttft_p50=1s").objectives] == ["e2e_p99.9", "ttft_p50"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "missing", "ttft_p95=2s"),
        ("ttft=2s", "not an objective", "ttft_p95=2s"),
        ("2s", "not an objective", "ttft_p95=2s"),
        ("tftt_p95=2s", "`tftt` is not a latency", "did you mean `ttft`"),
        ("itl_p95=2s", "`itl` is not a latency", "did you mean `tpot`"),
        ("qqq_p95=2s", "not a latency", "ttft, tpot, e2e"),
        ("ttft_p100=2s", "`p100` is not a percentile", "p99.9"),
        ("ttft_p9.9.9=2s", "not a percentile", "p99.9"),
        ("ttft_p95=2", "is not a duration", "ttft_p95=2s"),
        ("ttft_p95=-2s", "is not a duration", "ttft_p95=2s"),
        ("ttft_p95=0s", "takes no time", "above 0"),
        ("ttft_p95=1s, ttft_p95=2s", "twice", "leave one out"),
    ],
)
def test_what_cannot_be_read_says_what_would_be_right(text: str, message: str, hint: str) -> None:
    with pytest.raises(SloError, match=message) as caught:
        parse_slo(text)
    assert hint in caught.value.hint
