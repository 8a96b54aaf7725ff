"""Facts about requests: of all dialects, odd ones too."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.content import (
    images,
    last_user_text,
    normal_tag,
    output_bound,
    prompts,
    sla_of,
    tags_from_metadata,
    text_bytes,
    uncounted_input,
    unseen_input,
    unwritten_tools,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "model",
        "messages",
        "input",
        "prompt",
        "tools",
        "content",
        "type",
        "image_url",
        "metadata",
        "user",
        "service_tier",
        "source",
        "n",
        "role",
    ]
)
ODD = st.dictionaries(NAMES, JSON | st.lists(st.dictionaries(NAMES, JSON)), max_size=6)


def _strings(node: Any) -> int:
    if isinstance(node, str):
        return len(node.encode())
    if isinstance(node, dict):
        return sum(map(_strings, node.values()))
    return sum(map(_strings, node)) if isinstance(node, list) else 0


@given(ODD)
def test_text_bytes_is_never_less_than_the_strings(request: dict[str, Any]) -> None:
    assert text_bytes(request) >= _strings(request)


def test_text_bytes_of_a_plain_request() -> None:
    request = {"model": "gpt", "temperature": 0.5, "messages": [{"role": "user", "content": "naïve"}]}
    assert text_bytes(request) == len("gpt") + len("role" + "user" + "content") + len("naïve".encode())


def test_text_bytes_counts_tool_schemas_with_keys_and_numbers() -> None:
    assert text_bytes({"tools": [{"maximum": 1000, "required": True}]}) == len("maximum1000requiredTrue")


@pytest.mark.parametrize(
    ("prompt", "tokens"), [([1, 2, 3], 3), ([[1, 2], [3]], 3), (["ab", "c"], 3), ("ab", 2), ([1, "abc"], 4), ([[1, "abc"]], 4), ([], 0)]
)
def test_token_ids_count_one_each(prompt: Any, tokens: int) -> None:
    assert text_bytes({"prompt": prompt}) == tokens
    assert text_bytes({"input": prompt}) == tokens


@given(ODD)
def test_odd_requests_do_no_harm(request: dict[str, Any]) -> None:
    assert images(request) >= 0 and unseen_input(request) in (True, False) and prompts(request) >= 1
    assert (output_bound(request, 7) or 7) >= 7 and output_bound({**request, "max_tokens": "x"}, 7) is None
    assert uncounted_input(request) >= unseen_input(request)
    assert isinstance(last_user_text(request), str) and sla_of(request) is None
    assert all(isinstance(value, str) for value in tags_from_metadata(request).values())


def test_deep_nesting_is_survived() -> None:
    request = orjson.loads(b'{"messages":' + b"[" * 1000 + b'"x"' + b"]" * 1000 + b"}")
    assert text_bytes(request) == 1


def test_long_lists_take_time_in_proportion() -> None:
    request = {"input": [[1, 2]] * 300_000, "messages": [{"content": [{"type": "text", "text": "x"}] * 100_000}]}
    started = time.process_time()
    assert text_bytes(request) > 600_000 and images(request) == 0 and not unseen_input(request)
    assert time.process_time() - started < 2


DATA_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
WEB_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("parts", "count", "unseen"),
    [
        ([{"type": "text", "text": "https://example.com"}], 0, False),
        ([DATA_IMAGE, DATA_IMAGE], 2, False),
        ([WEB_IMAGE], 1, True),
        ([{"type": "image_url", "image_url": "https://example.com/a.png"}], 1, True),
        ([{"type": "input_image", "image_url": "data:image/png;base64,AA"}], 1, False),
        ([{"type": "input_image", "file_id": "file-1"}], 1, True),
        ([{"type": "image", "source": {"type": "base64", "data": "AA"}}], 1, False),
        ([{"type": "image", "source": {"type": "url", "url": "https://example.com"}}], 1, True),
        ([{"type": "file", "file": {"file_id": "file-1"}}], 0, True),
        ([{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}], 0, False),
        ([{"type": "video_url", "video_url": {"url": "https://example.com/v.mp4"}}], 0, True),
        ([{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}], 0, False),
        ([{"type": "tool_result", "content": [DATA_IMAGE, WEB_IMAGE]}], 2, True),
    ],
)
def test_images_and_what_the_body_only_points_at(parts: list[Any], count: int, unseen: bool) -> None:
    for key in ("messages", "input"):
        request = {key: [{"role": "user", "content": "hi"}, {"role": "user", "content": parts}]}
        assert images(request) == count
        assert unseen_input(request) is unseen


@pytest.mark.parametrize("request_", [{"previous_response_id": "r"}, {"conversation": {"id": "c"}}, {"prompt": {"id": "p"}}])
def test_state_at_the_provider_is_unseen(request_: dict[str, Any]) -> None:
    assert unseen_input(request_)


@pytest.mark.parametrize(
    ("request_", "bound"),
    [
        ({}, 50),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
        ({"max_output_tokens": 30}, 30),
        ({"max_tokens": None}, 50),
        ({"max_tokens": True}, 50),
        ({"max_tokens": -1}, 50),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"n": 3}, 150),
        ({"max_tokens": 10, "n": 2, "best_of": 4, "prompt": "x"}, 40),
        ({"max_tokens": 10, "n": 2, "prompt": ["a", "b", "c"]}, 60),
        ({"max_tokens": 10, "prompt": [[1, 2], [3]]}, 20),
        ({"max_tokens": 10, "prompt": [1, 2, 3]}, 10),
    ],
)
def test_output_bound(request_: dict[str, Any], bound: int) -> None:
    assert output_bound(request_, 50) == bound


def test_output_without_any_limit_has_no_bound() -> None:
    assert output_bound({"n": 2}, None) is None


@pytest.mark.parametrize("number", [5, 5.0, "5", " 5 ", "5.0", "+5"])
def test_numbers_count_as_lenient_engines_read_them(number: object) -> None:
    assert output_bound({"max_tokens": 10, "n": number}, 50) == output_bound({"max_tokens": 10, "best_of": number}, 50) == 50
    assert output_bound({"max_tokens": number, "n": 2}, 50) == 10
    assert output_bound({"max_output_tokens": number}, 50) == 5


@pytest.mark.parametrize("odd", [5.5, "five", "", "nan", "9" * 40, float("inf"), [5], {"n": 5}])
def test_what_is_no_whole_number_bounds_nothing(odd: object) -> None:
    for key in ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"):
        assert output_bound({"max_tokens": 10, key: odd}, 50) is None


PDF = "data:application/pdf;base64,AA"


@pytest.mark.parametrize(
    ("request_", "uncounted"),
    [
        ({"tools": [{"type": "function", "function": {}}, {"name": "mine", "input_schema": {}}, {"type": "custom"}]}, False),
        ({"tools": [{"type": "bash_20250124"}, {"type": "text_editor_20250728"}, {"type": "computer_20250124"}]}, False),
        ({"tools": [{"type": "web_search"}]}, True),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, True),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, True),
        ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, True),
        ({"tools": [{"type": ["odd"]}]}, True),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, True),
        ({"web_search_options": {}}, True),
        ({"web_search_options": None, "mcp_servers": False}, False),
        ({"messages": [{"content": [{"type": "document", "source": {"type": "base64", "data": "AA"}}]}]}, True),
        ({"messages": [{"content": [{"type": "tool_result", "content": [{"type": "document", "source": {"type": "base64"}}]}]}]}, True),
        ({"messages": [{"content": [{"type": "document", "source": {"type": "text", "data": "plain"}}]}]}, False),
        ({"messages": [{"content": [{"type": "document", "source": {"type": "content", "content": "plain"}}]}]}, False),
        ({"messages": [{"content": [{"type": "document", "source": {"type": "content", "content": [{"type": "image"}]}}]}]}, True),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_data": PDF}]}]}, True),
        ({"messages": [{"content": [{"type": "file", "file": {"file_data": PDF}}]}]}, True),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]}, False),
        ({"previous_response_id": "r"}, True),
    ],
)
def test_input_that_the_bytes_of_the_body_do_not_bound(request_: dict[str, Any], uncounted: bool) -> None:
    assert uncounted_input(request_) is uncounted


def test_tools_whose_schema_is_the_providers() -> None:
    assert unwritten_tools([{"type": "bash_20250124"}, {"type": "function"}, {"name": "mine"}, "odd"]) == 1


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}, DATA_IMAGE]}]}, "b"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}]}, "a\nb"),
        ({"prompt": "p"}, "p"),
        ({"prompt": ["p", "q"]}, "q"),
        ({"input": "i"}, "i"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "i"}]}]}, "i"),
        ({"messages": 5}, ""),
        ({}, ""),
    ],
)
def test_last_user_text(request_: dict[str, Any], text: str) -> None:
    assert last_user_text(request_) == text


def test_tags_come_from_metadata_and_below_it_from_user() -> None:
    assert tags_from_metadata({"user": "u1"}) == {"user": "u1"}
    metadata = {
        "Team": "a",
        "cost-center": 7,
        "beta": True,
        "user": "m",
        "sla-tier": "critical",
        "x": None,
        "y": [1],
        "z": 1.5,
        "long": "v" * 513,
    }
    assert tags_from_metadata({"user": "u1", "metadata": metadata}) == {
        "team": "a",
        "cost_center": "7",
        "beta": "true",
        "user": "m",
        "sla": "critical",
    }
    assert len(tags_from_metadata({"metadata": {f"k{i}": "v" for i in range(1000)}})) == 64


@pytest.mark.parametrize(("name", "normal"), [("Team", "team"), ("cost-center", "cost_center"), ("SLA-Tier", "sla"), ("sla", "sla")])
def test_normal_tag(name: str, normal: str) -> None:
    assert normal_tag(name) == normal


@pytest.mark.parametrize(
    ("tier", "sla"), [("priority", "critical"), ("default", "standard"), ("flex", "best_effort"), ("auto", None), (None, None), ([], None)]
)
def test_sla_of(tier: Any, sla: str | None) -> None:
    assert sla_of({"service_tier": tier}) == sla
