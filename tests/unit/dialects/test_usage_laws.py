"""Laws of reading usage: every token in exactly one class, whatever the form; never a count out of nothing."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.dialects.usage import LARGEST_COUNT, UsageError, estimate_tokens, tokens_from_usage, with_further_answer

counts = st.integers(0, 2**40)
classes = st.builds(Tokens, counts, counts, counts, counts, counts)


@given(classes)
def test_openai_form_round_trips(tokens: Tokens) -> None:
    usage = {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }
    assert tokens_from_usage(usage) == tokens
    # an unknown field sends the same body down the general path
    assert tokens_from_usage({**usage, "unknown": 1}) == tokens


@given(classes)
def test_responses_form_round_trips(tokens: Tokens) -> None:
    usage = {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "total_tokens": tokens.total,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }
    assert tokens_from_usage(usage) == tokens


@given(classes)
def test_anthropic_form_round_trips(tokens: Tokens) -> None:
    usage = {
        "input_tokens": tokens.uncached_input,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation_input_tokens": tokens.cache_write,
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
    }
    assert tokens_from_usage(usage) == tokens


@given(counts, counts, st.integers(1, 2**40))
def test_reasoning_beside_the_completion_is_told_by_the_total(prompt: int, visible: int, reasoning: int) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": visible,
        "total_tokens": prompt + visible + reasoning,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert tokens_from_usage(usage) == Tokens(prompt, 0, 0, visible, reasoning)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**55) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "cache_write_tokens"]), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details", "input_tokens"]
    + ["output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "num_search_queries"]
)


@given(st.dictionaries(keys, json_values) | json_values)
def test_any_body_gives_whole_counts_or_a_usage_error(usage: Any) -> None:
    try:
        tokens = tokens_from_usage(usage)
    except UsageError:
        return
    for name in Tokens.__struct_fields__:
        count = getattr(tokens, name)
        assert type(count) is int
        assert 0 <= count <= 3 * LARGEST_COUNT


@pytest.mark.parametrize(("text_bytes", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4001, 1001)])
def test_estimate_is_four_bytes_a_token_rounded_up(text_bytes: int, tokens: int) -> None:
    assert estimate_tokens(text_bytes) == tokens


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=6), st.integers(0, 2**40))
def test_usage_told_answer_by_answer_counts_the_prompt_once(outputs: list[int], prompt: int) -> None:
    told = [{"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output} for output in outputs]
    assert tokens_from_usage(reduce(with_further_answer, told)) == Tokens(prompt, 0, 0, sum(outputs), 0)


def test_usage_told_answer_by_answer_keeps_what_the_first_read_from_cache() -> None:
    first = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}}
    second = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
    assert tokens_from_usage(with_further_answer(first, second)) == Tokens(9, 0, 0, 3, 0)
    assert with_further_answer(first, {"completion_tokens": "many"})["completion_tokens"] == "many"
