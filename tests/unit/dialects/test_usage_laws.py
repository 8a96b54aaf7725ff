"""Laws of reading usage: every token in exactly one class, whatever the form; never a count out of nothing."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.processing import processing_of
from penstock.domain.dialects.tokens import CLASS_OF_PART, PARTS, Tokens
from penstock.domain.dialects.usage import MeteredUsage, estimate_tokens, metered_usage, tokens_from_usage, with_further_answer
from penstock.domain.dialects.usage_calls import calls_of_output
from penstock.domain.dialects.usage_fields import LARGEST_COUNT, UsageError

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


def check_parts(found: MeteredUsage) -> None:
    """Every part is known, above 0, and together with the others of its class no more than the class."""
    for parts in (found.parts, found.otherwise or {}):
        assert set(parts) <= set(PARTS)
        assert all(type(count) is int and count > 0 for count in parts.values())
        for name in Tokens.__struct_fields__:
            whole = getattr(found.tokens, name)
            assert sum(count for part, count in parts.items() if CLASS_OF_PART[part] == name) <= whole


sides = st.fixed_dictionaries({name: st.integers(0, 2**30) for name in ("text", "audio", "image", "video")})


@st.composite
def modal_usages(draw: st.DrawFn) -> tuple[dict[str, Any], MeteredUsage]:
    """A body that tells the modalities of all its tokens, of cached ones too, and what it says; in one of three forms."""
    fresh, read, made, reasoning = draw(sides), draw(sides), draw(sides), draw(counts)
    form = draw(st.sampled_from(["prompt_tokens_details", "input_tokens_details", "input_token_details"]))
    given, taken = ("prompt_tokens", "completion_tokens") if form[0] == "p" else ("input_tokens", "output_tokens")
    tokens = Tokens(sum(fresh.values()), sum(read.values()), 0, sum(made.values()), reasoning)
    usage = {
        given: tokens.input,
        taken: tokens.output,
        "total_tokens": tokens.total,
        form: {f"{name}_tokens": fresh[name] + read[name] for name in fresh}
        | {"cached_tokens": tokens.cache_read, "cached_tokens_details": {f"{name}_tokens": count for name, count in read.items()}},
        form.replace("prompt", "completion").replace("input", "output"): {f"{name}_tokens": count for name, count in made.items()}
        | {"reasoning_tokens": reasoning},
    }
    named = (("input", fresh), ("cache_read", read), ("output", made))
    parts = {f"{side}_{name}": count for side, split in named for name, count in split.items() if count and name != "text"}
    return usage, MeteredUsage(tokens, parts)


@given(modal_usages())
def test_modalities_that_are_told_apart_round_trip(case: tuple[dict[str, Any], MeteredUsage]) -> None:
    usage, expected = case
    found = metered_usage(usage)
    check_parts(found)
    assert (found.tokens, found.parts, found.otherwise) == (expected.tokens, expected.parts, None)


@given(modal_usages())
def test_a_cached_token_of_some_modality_is_counted_once_even_where_nobody_says_which(case: tuple[dict[str, Any], MeteredUsage]) -> None:
    usage, told = case
    for split in usage.values():
        if isinstance(split, dict):
            split.pop("cached_tokens_details", None)
            split.pop("text_tokens", None)
    found = metered_usage(usage)
    check_parts(found)
    assert found.tokens == told.tokens
    for parts in (found.parts, found.otherwise or found.parts):
        for name in ("audio", "image", "video"):
            whole = told.parts.get(f"input_{name}", 0) + told.parts.get(f"cache_read_{name}", 0)
            assert parts.get(f"input_{name}", 0) + parts.get(f"cache_read_{name}", 0) == whole
    lows, highs = (found.parts.get("cache_read_audio", 0), (found.otherwise or found.parts).get("cache_read_audio", 0))
    assert lows <= told.parts.get("cache_read_audio", 0) <= highs, "the truth lies between both readings"


@given(counts, counts, counts)
def test_writes_by_lifetime_never_exceed_what_was_written(minutes: int, hour: int, later: int) -> None:
    told = {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour}
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": minutes + hour + later, "cache_creation": told}
    found = metered_usage(usage)
    check_parts(found)
    share = found.parts.get("cache_write_1h", 0)
    assert found.tokens.cache_write == minutes + hour + later
    assert hour <= share if hour else share == 0
    assert share == hour or later
    assert (found.otherwise is not None) == bool(minutes and hour and later), "only a mixture leaves the rest open"


@given(st.lists(classes, min_size=1, max_size=3), classes)
def test_every_step_of_a_compacted_conversation_is_counted_once(compactions: list[Tokens], answer: Tokens) -> None:
    def body(tokens: Tokens) -> dict[str, Any]:
        return {
            "input_tokens": tokens.uncached_input,
            "cache_read_input_tokens": tokens.cache_read,
            "cache_creation_input_tokens": tokens.cache_write,
            "output_tokens": tokens.output,
            "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        }

    steps = [{"type": "compaction", **body(each)} for each in compactions] + [{"type": "message", **body(answer)}]
    expected = reduce(Tokens.plus, compactions, answer)
    assert metered_usage({**body(answer), "iterations": steps}) == MeteredUsage(expected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**55) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["cached_tokens", "reasoning_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "text_tokens", "type"]
                + [
                    "cached_tokens_details",
                    "web_search_requests",
                    "x_requests",
                    "ephemeral_1h_input_tokens",
                    "input_tokens",
                    "output_tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details", "input_tokens"]
    + ["output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "num_search_queries"]
    + ["input_token_details", "server_tool_use", "connectors", "connector_tokens", "iterations", "billed_units", "reasoning_tokens"]
    + ["citation_tokens", "service_tier", "speed", "inference_geo"]
)


@given(st.dictionaries(keys, json_values) | json_values, json_values, st.sampled_from([None, "audio", "image"]))
def test_any_body_gives_whole_counts_or_a_usage_error(usage: Any, output: Any, made: Any) -> None:
    processing = processing_of(usage if isinstance(usage, dict) else None, output)
    assert processing is None or isinstance(processing, str)
    try:
        found = metered_usage(usage, calls_of_output(output), made)
    except UsageError:
        return
    check_parts(found)
    assert tokens_from_usage(usage) == found.tokens
    for name in Tokens.__struct_fields__:
        count = getattr(found.tokens, name)
        assert type(count) is int
        assert 0 <= count <= 9 * LARGEST_COUNT


@pytest.mark.parametrize(
    ("usage", "tier", "processing"),
    [
        (None, None, None),
        ({}, "default", None),
        ({"service_tier": None}, "flex", "flex"),
        ({"service_tier": "batch"}, None, "batch"),
        ({"service_tier": "standard", "speed": "standard", "inference_geo": "global"}, None, None),
        ({"service_tier": "priority", "speed": "fast", "inference_geo": "us"}, None, "priority+fast+us"),
        ({"service_tier": "batch", "inference_geo": "us"}, None, "batch+us"),
        ({}, "Scale", "scale"),
        (None, "on-demand", None),
        ({}, 7, "a number"),
        ({}, "x" * 99, "x" * 32),
    ],
)
def test_the_processing_class_in_one_word(usage: dict[str, Any] | None, tier: object, processing: str | None) -> None:
    assert processing_of(usage, tier) == processing


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
