"""How sure a model says that it was, in the bodies of servers that tell it."""

from math import exp, log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.signals.logprobs import logprob_sign, sureness, truth

VLLM = {
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Yes, it"},
            "logprobs": {
                "content": [
                    {
                        "token": "Yes",
                        "logprob": -0.105360515,
                        "bytes": [89, 101, 115],
                        "top_logprobs": [
                            {"token": "Yes", "logprob": -0.105360515, "bytes": [89, 101, 115]},
                            {"token": "No", "logprob": -2.302585093, "bytes": [78, 111]},
                        ],
                    },
                    {"token": ",", "logprob": 0.0, "bytes": [44], "top_logprobs": []},
                    {"token": " it", "logprob": -0.693147181, "bytes": [32, 105, 116], "top_logprobs": []},
                ]
            },
            "finish_reason": "stop",
            "stop_reason": None,
        }
    ],
}
LLAMA = {
    "choices": [
        {
            "finish_reason": "stop",
            "index": 0,
            "message": {"role": "assistant", "content": "4"},
            "logprobs": {
                "content": [
                    {
                        "id": 19,
                        "token": "4",
                        "bytes": [52],
                        "logprob": -0.0008,
                        "top_logprobs": [
                            {"id": 19, "token": "4", "bytes": [52], "logprob": -0.0008},
                            {"id": 20, "token": "5", "bytes": [53], "logprob": -7.3},
                        ],
                    },
                    {"id": 13, "token": ".", "bytes": [46], "logprob": -9999.0, "top_logprobs": []},
                ]
            },
        }
    ],
}
COMPLETION = {
    "choices": [
        {
            "index": 0,
            "text": " Paris.",
            "finish_reason": "stop",
            "logprobs": {
                "tokens": [" Paris", "."],
                "token_logprobs": [-0.2, -0.1],
                "top_logprobs": [{" Paris": -0.2, " Lyon": -1.9}, {".": -0.1}],
                "text_offset": [0, 6],
            },
        }
    ],
}
RESPONSE = {
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "content": [{"type": "output_text", "text": "Hi", "logprobs": [{"token": "Hi", "logprob": -0.5, "top_logprobs": []}]}],
        },
    ]
}


def _chat(*logs: Any) -> dict[str, Any]:
    return {"choices": [{"logprobs": {"content": [{"token": f"t{index}", "logprob": value} for index, value in enumerate(logs)]}}]}


def test_vllm() -> None:
    found = sureness(VLLM)
    assert found is not None and found.tokens == 3
    assert found.mean == pytest.approx((0.9 * 1 * 0.5) ** (1 / 3), abs=1e-6)
    assert found.least == pytest.approx(0.5, abs=1e-6)
    assert found.margin == pytest.approx(0.9 - 0.1, abs=1e-6)
    assert found.confidence == found.least  # of so short an answer


def test_llama_cpp_writes_minus_9999() -> None:
    found = sureness(LLAMA)
    assert found is not None and found.least == pytest.approx(0, abs=1e-12) and found.margin == pytest.approx(exp(-0.0008) - exp(-7.3))


def test_the_end_of_a_turn_is_no_word() -> None:
    """llama.cpp tells of it where it answers whole, and not on streams: the answer is as sure either way."""
    said = {"id": 407, "token": " cold", "bytes": [32, 99, 111, 108, 100], "logprob": -0.55, "top_logprobs": []}
    end = {"id": 4, "token": "", "bytes": [], "logprob": -2.01, "top_logprobs": []}
    streamed, whole = ({"choices": [{"logprobs": {"content": content}}]} for content in ([said], [said, end]))
    assert sureness(whole) == sureness(streamed) is not None
    assert sureness({"choices": [{"logprobs": {"content": [end]}}]}) is None


def test_legacy_completions() -> None:
    found = sureness(COMPLETION)
    assert found is not None and found.mean == pytest.approx(exp(-0.15)) and found.margin == pytest.approx(exp(-0.2) - exp(-1.9))


def test_responses() -> None:
    found = sureness(RESPONSE)
    assert found is not None and found.mean == pytest.approx(exp(-0.5)) and found.margin is None


def test_of_a_longer_answer_the_mean_counts() -> None:
    found = sureness(_chat(*[log(0.9)] * 9, log(0.1)))
    assert found is not None and found.confidence == found.mean == pytest.approx((0.9**9 * 0.1) ** 0.1)


@pytest.mark.parametrize(
    "whole",
    [
        None,
        [],
        "x",
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"logprobs": None}]},
        {"choices": [{"logprobs": []}]},
        {"choices": [{"logprobs": {"content": None}}]},
        {"choices": [{"logprobs": {"content": []}}]},
        {"choices": [{"logprobs": {"content": ["x", 1]}}]},
        {"choices": [{"logprobs": {"content": [{}]}}]},
        {"choices": [{}, {}]},
        {"choices": [{"logprobs": {"token_logprobs": []}}]},
        {"choices": [{"logprobs": {"token_logprobs": "abc"}}]},
        {"output": [1, {"content": 3}]},
        _chat(None),
        _chat("0"),
        _chat(True),
        _chat(0.5),
        _chat(float("nan")),
        _chat(-0.1, None, None),
        _chat({}),
        {"output": [{"content": [{"type": "output_text", "logprobs": "x"}]}]},
    ],
)
def test_absent_or_nonsense(whole: object) -> None:
    assert sureness(whole) is None
    sign = logprob_sign(whole)
    assert sign.value is None and not sign.fails and sign.said == "no logprobs"
    assert truth(whole, frozenset({"yes"}), frozenset({"no"})) is None


def test_a_token_without_one_is_passed_over() -> None:
    found = sureness(_chat(-0.1, None, -0.3))
    assert found is not None and found.tokens == 2


@given(st.lists(st.floats(max_value=0) | st.just(float("-inf")), min_size=1, max_size=40))
def test_it_is_a_probability(logs: list[float]) -> None:
    sign = logprob_sign(_chat(*logs))
    assert sign.value is not None and 0 <= sign.value <= 1


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=20), st.integers(0, 19), st.floats(0, 5))
def test_a_less_sure_token_never_makes_it_surer(logs: list[float], at: int, less: float) -> None:
    before, at = sureness(_chat(*logs)), at % len(logs)
    after = sureness(_chat(*logs[:at], logs[at] - less, *logs[at + 1 :]))
    assert before is not None and after is not None and after.confidence <= before.confidence + 1e-12


def test_the_truth_is_yes_among_both() -> None:
    assert truth(VLLM, frozenset({"yes"}), frozenset({"no"})) == pytest.approx(0.9)
    assert truth(VLLM, frozenset({"ja"}), frozenset({"no"})) == 0.0
    assert truth(LLAMA, frozenset({"yes"}), frozenset({"no"})) is None
