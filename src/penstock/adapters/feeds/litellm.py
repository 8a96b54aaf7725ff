"""LiteLLM's price map (`model_prices_and_context_window.json`) as a source of prices to compare with and to take over."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from penstock.domain.prices.config_price import PriceError, class_suffix
from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.prices.schedule import Schedule, constant

FIGURES = {
    "input_cost_per_token": "uncached_input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "visible_output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}
"""key of the map, USD per token -> token class or part"""
CLASSES = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
PROVIDERS = {
    "gemini": "google", "vertex_ai": "google", "bedrock": "aws", "bedrock_converse": "aws", "xai": "x-ai", "together_ai": "together",
    "fireworks_ai": "fireworks", "azure_ai": "azure", "moonshot": "moonshotai", "text-completion-openai": "openai",
}  # fmt: skip
"""LiteLLM's name of a provider, where it is not genai-prices' own"""
_ABOVE = re.compile(r"_above_(\d+)k_tokens$")


class LitellmPrices:
    """Prices of one file of LiteLLM's format. It has no dates: they have always held, as far as it says."""

    name = "litellm"

    def __init__(self, content: bytes, version: str) -> None:
        """Raises `PriceError` for what is no price map."""
        try:
            raw = json.loads(content, parse_float=Decimal)
        except ValueError as problem:
            raise PriceError(f"{version}: not a price map of LiteLLM: {problem}") from None
        if not isinstance(raw, dict) or not any(isinstance(each, dict) and "litellm_provider" in each for each in raw.values()):
            raise PriceError(f"{version}: not a price map of LiteLLM: no entry has a `litellm_provider`")
        self.version = version
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        for key, entry in raw.items():
            if isinstance(entry, dict) and isinstance(entry.get("litellm_provider"), str) and key != "sample_spec":
                provider = _provider(entry["litellm_provider"])
                self._entries.setdefault((provider, key.lower()), entry)
                self._entries.setdefault((provider, key.lower().rpartition("/")[2]), entry)

    def schedule(self, provider: str, model: str) -> Schedule | None:
        """The standard price of a provider's model; None when the map has none."""
        return self._schedule(provider, model, None)

    def classes(self, provider: str, model: str) -> Mapping[str, Schedule]:
        """Prices of processing classes."""
        found = {name: self._schedule(provider, model, name) for name in CLASSES}
        return {name: schedule for name, schedule in found.items() if schedule is not None}

    def _schedule(self, provider: str, model: str, processing: str | None) -> Schedule | None:
        entry = self._entries.get((provider.lower(), model.lower()))
        rates = None if entry is None else self._rates(f"{provider.lower()}/{model}", entry, processing)
        return None if rates is None else constant(rates)

    def _rates(self, name: str, entry: Mapping[str, Any], processing: str | None) -> Rates | None:
        """The figures of a class, and for what it does not name those of the standard price; None when it names none per token."""
        tables: dict[int, dict[str, Fraction | None]] = {0: {}}
        named = False
        for suffix in ("", CLASSES[processing]) if processing else ("",):
            for start, figure, usd in _figures(name, entry, suffix):
                tables.setdefault(start, {})[figure] = usd
                named = named or (suffix == "" if processing is None else suffix != "")
        if not named or tables[0].get("uncached_input") is None:
            return None
        bands = {start: tables[0] | table for start, table in tables.items() if start}
        return compile_rates(f"{self.name}:{name}{class_suffix(processing)}", self.version, tables[0], bands=bands)


def _figures(name: str, entry: Mapping[str, Any], suffix: str) -> Iterator[tuple[int, str, Fraction]]:
    """(input tokens from which it holds, class or part, USD per million tokens) of keys with a class's suffix."""
    for key, value in entry.items():
        above = _ABOVE.search(key.removesuffix(suffix) if suffix else key)
        stem = key.removesuffix(suffix) if suffix else key
        stem = _ABOVE.sub("", stem)
        if (suffix and not key.endswith(suffix)) or stem not in FIGURES or value is None:
            continue
        try:
            usd = Fraction(Decimal(str(value))) * 1_000_000
        except (InvalidOperation, ValueError, OverflowError):
            raise PriceError(f"{name}: {key}: `{value}` is not a price") from None
        if usd < 0:
            raise PriceError(f"{name}: {key}: `{value}` is not a price")
        yield int(above[1]) * 1000 if above else 0, FIGURES[stem], usd


def _provider(name: str) -> str:
    lower = name.lower()
    return PROVIDERS.get(lower) or next((ours for theirs, ours in PROVIDERS.items() if lower.startswith(f"{theirs}-")), lower)
