"""Equal keys only for requests that ask the same of the same model for the same partition."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.cache_key import IGNORED, cache_key, cacheable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)
REQUESTS = st.dictionaries(
    st.sampled_from(["messages", "temperature", "tools", "seed", "top_k", "odd", *sorted(IGNORED)]), JSON, max_size=6
)
PARTS = st.lists(st.sampled_from(["a", "b", "ab", "", 'a","b', None]), max_size=3)
BASE: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.2}


def _key(request: dict[str, Any], **changes: Any) -> bytes | None:
    call = {"partition": ("t",), "endpoint": "chat.completions", "model": "m", "upstream": "u", **changes}
    return cache_key(**call, request=request)


def _asked(request: dict[str, Any]) -> bytes:
    return orjson.dumps({k: v for k, v in request.items() if k not in IGNORED}, option=orjson.OPT_SORT_KEYS)


@given(REQUESTS, REQUESTS, PARTS, PARTS)
def test_keys_are_equal_exactly_when_everything_asked_is(
    one: dict[str, Any], two: dict[str, Any], here: list[Any], there: list[Any]
) -> None:
    same = _asked(one) == _asked(two) and here == there
    assert (_key(one, partition=here) == _key(two, partition=there)) is same


@given(REQUESTS, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(request: dict[str, Any], random: Any) -> None:
    items = list(request.items())
    random.shuffle(items)
    assert _key(dict(items)) == _key(request)


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_delivery_and_billing_do_not_matter(name: str) -> None:
    assert _key({**BASE, name: "anything"}) == _key(BASE)


@pytest.mark.parametrize(
    "changes",
    [
        {"partition": ("s",)},
        {"partition": ("t", None)},
        {"endpoint": "completions"},
        {"model": "x"},
        {"upstream": "x"},
        {"version": "2026-10"},
    ],
)
def test_whom_it_is_asked_of_matters(changes: dict[str, Any]) -> None:
    assert _key(BASE, **changes) != _key(BASE)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"temperature": 0.3}, {"n": 2}, {"cache_salt": "x"}, {"messages": []}, {"seed": None}])
def test_what_is_asked_matters(changes: dict[str, Any]) -> None:
    assert _key({**BASE, **changes}) != _key(BASE)


def test_the_key_is_stable_across_processes() -> None:
    key = _key(BASE)
    assert key is not None and key.hex() == "fafcf331640fcd396fbb35a7885cc1d0"


@pytest.mark.parametrize("body", [b'{"seed":18446744073709551616}', b'{"tools":[{"maximum":-9223372036854775809}]}', b'{"x":1e300}'])
def test_numbers_that_the_parser_may_have_rounded_have_no_key(body: bytes) -> None:
    assert _key(orjson.loads(body)) is None


def test_nesting_beyond_the_encoder_has_no_key() -> None:
    assert _key(orjson.loads(b'{"x":' + b"[" * 1000 + b"]" * 1000 + b"}")) is None


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"n": 3}, True),
        ({"temperature": 1.5}, True),
        ({"modalities": ["text"]}, True),
        ({"store": False}, True),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, True),
        ({"tools": []}, True),
        ({"store": True}, False),
        ({"background": True}, False),
        ({"modalities": ["text", "audio"]}, False),
        ({"audio": {"voice": "x"}}, False),
        ({"web_search_options": {}}, False),
        ({"tools": [{"type": "web_search"}]}, False),
        ({"tools": "odd"}, False),
        ({"tools": [{"type": []}]}, False),
        ({"previous_response_id": "r"}, False),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/cam.jpg"}}]}]}, False),
    ],
)
def test_cacheable(changes: dict[str, Any], may: bool) -> None:
    assert cacheable("chat.completions", {**BASE, **changes}) is may


@pytest.mark.parametrize(("endpoint", "may"), [("completions", True), ("embeddings", True), ("/v1/images/generations", False)])
def test_cacheable_endpoints(endpoint: str, may: bool) -> None:
    assert cacheable(endpoint, {}) is may
