"""LiteLLM's price map: classes of tokens, of processing and of context, under genai-prices' names of providers."""

import json
from fractions import Fraction

import pytest

from penstock.adapters.feeds.litellm import LitellmPrices
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.rates import Rates

MAP = {
    "sample_spec": {"litellm_provider": "one of ...", "input_cost_per_token": 0.0},
    "big": {
        "litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "cache_read_input_token_cost": 5e-07,
        "input_cost_per_audio_token": 4e-05, "input_cost_per_token_batches": 1e-06, "output_cost_per_token_batches": 4e-06,
        "input_cost_per_token_above_200k_tokens": 4e-06, "input_cost_per_token_priority": 3.5e-06, "max_tokens": 16384,
    },
    "anthropic.claude": {
        "litellm_provider": "bedrock_converse", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
    },
    "gemini/flash": {"litellm_provider": "gemini", "input_cost_per_token": 3e-07},
    "painter": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.04},
}  # fmt: skip


@pytest.fixture
def prices() -> LitellmPrices:
    return LitellmPrices(json.dumps(MAP).encode(), "map.json")


def only(prices: LitellmPrices, provider: str, model: str, processing: str | None = None) -> Rates:
    schedule = prices.schedule(provider, model) if processing is None else prices.classes(provider, model)[processing]
    assert schedule is not None and len(schedule.rates) == 1
    return schedule.rates[0]


def test_figures_are_exact_as_written(prices: LitellmPrices) -> None:
    rates = only(prices, "OpenAI", "Big")
    assert rates.per_million() == {
        "uncached_input": 2, "cache_read": Fraction(1, 2), "cache_write": 2, "visible_output": 8, "reasoning": 8,
    }  # fmt: skip
    assert rates.parts_per_million() == {"input_audio": 40}
    assert rates.per_million(200_001)["uncached_input"] == 4
    assert rates.per_million(200_001)["cache_read"] == Fraction(1, 2)
    assert only(prices, "aws", "anthropic.claude").cost(Tokens(0, 0, 10, 0, 0), {"cache_write_1h": 4}) == 6 * 3750 + 4 * 6000


def test_a_class_has_its_own_figures_and_the_standard_ones_for_the_rest(prices: LitellmPrices) -> None:
    assert set(prices.classes("openai", "big")) == {"batch", "priority"}
    batch = only(prices, "openai", "big", "batch")
    assert (batch.per_million()["uncached_input"], batch.per_million()["visible_output"]) == (Fraction(1), Fraction(4))
    assert batch.per_million()["cache_read"] == Fraction(1, 2)
    assert batch.id == "litellm:openai/big#batch"
    assert prices.classes("aws", "anthropic.claude") == {}


def test_names_follow_the_provider(prices: LitellmPrices) -> None:
    assert only(prices, "google", "flash").id == "litellm:google/flash"
    assert prices.schedule("openai", "flash") is None
    assert prices.schedule("openai", "painter") is None, "no price per token"


@pytest.mark.parametrize("bad", [b"{", b"{}", b"[]", b'{"a": {"price": 1}}'])
def test_other_files_are_refused(bad: bytes) -> None:
    with pytest.raises(PriceError, match=r"map.json: not a price map of LiteLLM"):
        LitellmPrices(bad, "map.json")


@pytest.mark.parametrize("bad", ['"free"', "-1"])
def test_what_is_no_price_is_refused(bad: str) -> None:
    prices = LitellmPrices(b'{"m": {"litellm_provider": "openai", "input_cost_per_token": ' + bad.encode() + b"}}", "map.json")
    with pytest.raises(PriceError, match="openai/m: input_cost_per_token"):
        prices.schedule("openai", "m")
