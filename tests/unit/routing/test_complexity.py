"""Golden examples of each band, the cut-offs, and the bounds that routing relies on."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.complexity import FAST_BELOW, FRONTIER_FROM, complexity, features

SIMPLE = [
    "What is your return policy?",
    "What are your opening hours on Sunday?",
    "How do I reset my password?",
    "Is there parking near the store?",
    "Thanks!",
    "Translate to French: good morning, how are you?",
    "Extract the invoice number from: Invoice INV-2931 dated 3 May, total 120 EUR.",
    "Label this ticket as billing, shipping or other: I was charged twice for the same order.",
    "Classify the sentiment of this review as positive or negative: The hotel was lovely and the staff friendly, but breakfast was cold.",
]
MODERATE = [
    "Write a short product description for a blue ceramic mug.",
    "Explain how photosynthesis works.",
    "Write a Python function that reverses a string.",
    "Compare our basic and premium plans for a small team.",
]
HARD = [
    "Debug this Python function, it raises IndexError, explain why and fix it:\n```python\ndef first(xs):\n    return xs[0]\n```",
    "Find the root cause of this crash and fix it:\nTraceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'x'",
    "Prove that the square root of 2 is irrational.",
    "Derive the closed form of the sum of the first n squares and prove it by induction over the integers.",
    "Analyse our third-quarter revenue step by step: compare it with the second quarter, identify the three main drivers of the decline, "
    "assess the risks and recommend a strategy for the next year.",
    "Design a multi-region architecture for a payment system, evaluate the trade-offs between consistency and availability, and propose "
    "a migration plan in phases.",
]


def _chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("text", SIMPLE)
def test_simple_work_is_for_the_fast_tier(text: str) -> None:
    assert complexity(_chat(text)) < FAST_BELOW


@pytest.mark.parametrize("text", MODERATE)
def test_moderate_work_is_in_between(text: str) -> None:
    assert FAST_BELOW <= complexity(_chat(text)) < FRONTIER_FROM


@pytest.mark.parametrize("text", HARD)
def test_hard_work_is_for_the_strongest_tier(text: str) -> None:
    assert complexity(_chat(text)) > FRONTIER_FROM


def test_the_form_of_the_request_does_not_change_the_text_features() -> None:
    text = HARD[2]
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    assert complexity(parts) == complexity({"prompt": text}) == complexity({"input": text}) == complexity(_chat(text))


def _points(request: dict[str, Any], feature: str) -> int:
    return features(request)[feature]


@pytest.mark.parametrize(
    ("feature", "request_", "points"),
    [
        ("length", _chat("x" * 2500), 200),
        ("length", _chat("x" * 100_000), 200),
        ("length", _chat("x" * 625), 100),
        ("demanding_task", _chat("explain"), 250),
        ("demanding_task", _chat("prove"), 400),
        ("demanding_task", _chat("prove, explain, compare, design and evaluate"), 600),
        ("simple_task", _chat("translate"), -100),
        ("simple_task", _chat("translate or classify"), -200),
        ("simple_task", _chat("translate, then explain and compare"), 0),
        ("code", _chat("```x```"), 200),
        ("code", _chat("in python"), 100),
        ("maths", _chat("the integral"), 200),
        ("maths", _chat("How many are 3 apples, 4 pears and 5 plums?"), 150),
        ("maths", _chat("How many apples?"), 0),
        ("steps", _chat("1. a\n2. b\n3. c"), 150),
        ("steps", _chat("1. a\n2. b"), 0),
        ("questions", _chat("a? b? c?"), 100),
        ("questions", _chat("?" * 99), 150),
        ("conversation", {"messages": [{"role": "user", "content": "x"}] * 5}, 40),
        ("conversation", {"messages": [{"role": "user", "content": "x"}] * 500}, 100),
        ("tools", _chat("x", tools=[{}]), 100),
        ("format", _chat("x", response_format={"type": "json_schema"}), 100),
        ("format", _chat("x", response_format={"type": "json_object"}), 50),
        ("format", _chat("as json"), 50),
    ],
)
def test_each_feature(feature: str, request_: dict[str, Any], points: int) -> None:
    assert _points(request_, feature) == points


def test_a_system_prompt_that_names_a_simple_job_counts() -> None:
    system = {"role": "system", "content": "You classify tickets."}
    assert _points({"messages": [system, {"role": "user", "content": "my parcel"}]}, "simple_task") == -100


SYSTEM, QUESTION = "You classify tickets.", "Explain and compare: 1. a\n2. b\n3. c"
SCHEMA: dict[str, Any] = {"type": "json_schema", "schema": {}}
DIALECTS: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {"role": "system", "content": SYSTEM},
            *[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 4,
            {"role": "tool", "content": "z"},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_schema"},
    },
    "responses": {
        "instructions": SYSTEM,
        "input": [
            *[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 4,
            {"type": "function_call_output", "output": "z"},
            {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
        ],
        "tools": [{"type": "function"}],
        "text": {"format": SCHEMA},
    },
    "messages": {
        "system": [{"type": "text", "text": SYSTEM}],
        "messages": [
            *[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 4,
            {"role": "user", "content": [{"type": "tool_result", "content": "z"}]},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
        "tools": [{"name": "f"}],
        "output_config": {"format": SCHEMA},
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_call_scores_the_same_in_every_dialect(dialect: str) -> None:
    assert features(DIALECTS[dialect]) == features(DIALECTS["chat"])
    assert features({"input": QUESTION, "instructions": SYSTEM}) == features(
        {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]}
    )


@given(
    st.dictionaries(
        st.sampled_from(["messages", "prompt", "input", "tools", "response_format", "functions"]),
        st.none() | st.integers() | st.text() | st.lists(st.text() | st.dictionaries(st.sampled_from(["role", "content"]), st.text())),
    )
)
def test_any_request_has_a_score_from_0_to_1(request: dict[str, Any]) -> None:
    assert 0 <= complexity(request) <= 1


@pytest.mark.parametrize("text", ["\n" * 10**6, "prove the case and then " * 40_000, "1." * 500_000, "how many ?1 2 3 " * 60_000])
def test_a_megabyte_takes_milliseconds_at_most(text: str) -> None:
    request = {"messages": [{"role": "user", "content": text}] * 300}
    started = time.process_time()
    complexity(request)
    assert time.process_time() - started < 0.05
