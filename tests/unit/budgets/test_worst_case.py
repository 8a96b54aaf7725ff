"""No answer within the limits costs more than the worst case."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.budgets.worst_case import (
    IMAGE_OVERHEAD,
    MESSAGE_OVERHEAD,
    REQUEST_OVERHEAD,
    TOOL_OVERHEAD,
    TOOLS_OVERHEAD,
    Candidate,
    ceiling,
    input_bound,
    worst_case,
)
from penstock.domain.dialects.content import text_bytes
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.rates import Rates, compile_rates


def _rates(input: str, output: str | None, **other: str) -> Rates:
    table = {"uncached_input": Fraction(input), "visible_output": None if output is None else Fraction(output)}
    return compile_rates("p", "v", table | {name: Fraction(value) for name, value in other.items()})


CHEAP, DEAR = _rates("0.05", "0.10"), _rates("2.5", "10")
REQUEST: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 100}], "max_tokens": 10}
PRICE = st.fractions(0, 20, max_denominator=1000)
TABLE = st.fixed_dictionaries(
    {"uncached_input": PRICE, "visible_output": PRICE}, optional={"cache_read": PRICE, "cache_write": PRICE, "reasoning": PRICE}
)
COUNT = st.integers(0, 50_000)


@given(TABLE, st.dictionaries(st.integers(1, 40_000), TABLE, max_size=2), COUNT, COUNT, COUNT, COUNT, COUNT)
def test_no_call_within_the_bounds_costs_more_than_the_ceiling(
    table: dict[str, Fraction], bands: dict[int, dict[str, Fraction]], a: int, b: int, c: int, d: int, e: int
) -> None:
    rates = compile_rates("p", "v", table, bands=bands)
    cost, most = rates.cost(Tokens(a, b, c, d, e)), ceiling(rates, a + b + c + 7, d + e + 7)
    assert cost is not None and most is not None and cost <= most


def test_the_bound_is_bytes_plus_overheads_at_list_price() -> None:
    read = text_bytes(REQUEST) + REQUEST_OVERHEAD + MESSAGE_OVERHEAD
    assert worst_case(REQUEST, [Candidate(DEAR)]) == (read * 2500 + 10 * 10_000, Tokens(read, 0, 0, 10, 0))


def test_context_caps_the_input_and_max_output_stands_in_for_a_missing_limit() -> None:
    request = {"messages": REQUEST["messages"], "n": 2}
    assert worst_case(request, [Candidate(CHEAP, 64, 2048)]) == (64 * 50 + 4096 * 100, Tokens(64, 0, 0, 4096, 0))


def test_each_prompt_of_a_list_may_fill_the_context() -> None:
    request = {"prompt": ["x" * 100, "y" * 100], "max_tokens": 10}
    assert worst_case(request, [Candidate(CHEAP, 64)])[1] == Tokens(128, 0, 0, 20, 0)


def test_the_dearest_candidate_counts() -> None:
    only_dear = worst_case(REQUEST, [Candidate(DEAR, 50)])
    assert worst_case(REQUEST, [Candidate(CHEAP, 50), Candidate(DEAR, 50)]) == only_dear
    assert worst_case(REQUEST, [Candidate(DEAR, 50), Candidate(CHEAP, 50)]) == only_dear


def test_the_tokens_are_the_most_that_any_candidate_makes() -> None:
    request = {"messages": REQUEST["messages"]}
    dear, long = Candidate(DEAR, 50, 10), Candidate(CHEAP, 40, 900)
    for both in ([dear, long], [long, dear]):
        assert worst_case(request, both) == (50 * 2500 + 10 * 10_000, Tokens(50, 0, 0, 900, 0))


def test_numbers_in_quotes_multiply_too() -> None:
    for many in (5, 5.0, "5"):
        assert worst_case({**REQUEST, "n": many}, [Candidate(CHEAP, 64)]) == (64 * 50 + 50 * 100, Tokens(64, 0, 0, 50, 0))
    assert worst_case({**REQUEST, "n": [5]}, [Candidate(CHEAP, 64, 9)]) == (None, None)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_search"}]},
        {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AA"}]}]},
    ],
)
def test_what_the_bytes_do_not_bound_is_bounded_by_the_context_alone(more: dict[str, Any]) -> None:
    assert worst_case({**REQUEST, **more}, [Candidate(CHEAP)]) == (None, None)
    assert worst_case({**REQUEST, **more}, [Candidate(CHEAP, 200_000)]) == (200_000 * 50 + 10 * 100, Tokens(200_000, 0, 0, 10, 0))


def test_the_dearest_class_counts() -> None:
    writes = _rates("1", "2", cache_write="4", reasoning="3")
    assert ceiling(writes, 1000, 1000) == 1000 * 4000 + 1000 * 3000


def test_a_long_context_band_counts_only_when_the_input_can_reach_it() -> None:
    table = {"uncached_input": Fraction(1), "visible_output": Fraction(1)}
    dear = {"uncached_input": Fraction(2), "visible_output": Fraction(2)}
    rates = compile_rates("p", "v", table, bands={200: dear})
    assert ceiling(rates, 200, 0) == 200 * 1000
    assert ceiling(rates, 201, 0) == 201 * 2000


def test_rounding_is_upwards() -> None:
    assert ceiling(_rates("0.0001", "0"), 1, 0) == 1


@pytest.mark.parametrize(
    ("request_", "candidates", "expected"),
    [
        ({"messages": []}, [Candidate(CHEAP, 50)], (None, None)),
        ({"messages": [], "max_tokens": 5}, [Candidate(None, 50)], (None, Tokens(50, 0, 0, 5, 0))),
        ({"messages": [], "max_tokens": 5}, [Candidate(CHEAP, 50), Candidate(None, 40)], (None, Tokens(50, 0, 0, 5, 0))),
        ({"messages": [], "max_tokens": 5}, [Candidate(None, 40), Candidate(CHEAP, 50)], (None, Tokens(50, 0, 0, 5, 0))),
        ({"previous_response_id": "r", "max_tokens": 5}, [Candidate(CHEAP)], (None, None)),
        ({"previous_response_id": "r", "max_tokens": 5}, [Candidate(CHEAP, 50)], (50 * 50 + 5 * 100, Tokens(50, 0, 0, 5, 0))),
        ({"max_tokens": 5}, [Candidate(_rates("1", None), 50)], (None, Tokens(50, 0, 0, 5, 0))),
        ({"max_tokens": 5}, [], (None, None)),
    ],
)
def test_what_is_unknown_stays_unknown(request_: dict[str, Any], candidates: list[Candidate], expected: tuple[Any, Any]) -> None:
    assert worst_case(request_, candidates) == expected


def test_embeddings_generate_nothing() -> None:
    bound = 2 + 2 * REQUEST_OVERHEAD
    assert worst_case({"input": ["a", "b"]}, [Candidate(_rates("1", None))], generates=False) == (bound * 1000, Tokens(bound))


def test_tools_and_images_add_what_engines_add() -> None:
    tools = {**REQUEST, "tools": [{}, {}]}
    assert input_bound(tools) == (input_bound(REQUEST) or 0) + TOOLS_OVERHEAD + 2 * TOOL_OVERHEAD
    provided = {**REQUEST, "tools": [{"type": "bash_20250124"}, {"type": "memory_20250818"}]}
    assert (input_bound(provided) or 0) - text_bytes(provided) == (input_bound(tools) or 0) - text_bytes(tools) + TOOLS_OVERHEAD
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    pictured = {"messages": [{"role": "user", "content": [image]}]}
    assert input_bound(pictured) == text_bytes(pictured) + REQUEST_OVERHEAD + MESSAGE_OVERHEAD + IMAGE_OVERHEAD
