"""The public price book: genai-prices' bundled data, compiled to integer rates. Importing its data takes about 0.2 s and 14 MB,
so that happens when the feed is first asked, and never when every model has a price of its own.

Token prices, fees per call, bands by context, dates and times of day are taken over. Prices of what our records do not
count (audio, images, searches, hour-long cache writes) and discounts by request (batch, flex, priority) are not.
"""

import re
from collections.abc import Iterator
from datetime import time
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.prices.schedule import ALWAYS, Schedule, Window, midnight_ns
from penstock.ports.price_feed import PriceListing

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider

CLASS_OF_KEY = {
    "input_mtok": "uncached_input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_mtok": "visible_output",
    "output_reasoning_mtok": "reasoning",
}
CALL_FEE = "requests_kcount"


class GenaiPrices:
    """A `PriceFeed` over the data that the installed genai-prices package carries; never asks the network."""

    name = "genai-prices"

    @cached_property
    def version(self) -> str:
        return version("genai-prices")

    @cached_property
    def _snapshot(self) -> "DataSnapshot":
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot

        return DataSnapshot(providers=providers, from_auto_update=False)

    def schedule(self, provider: str, model: str) -> Schedule | None:
        """The dated price of a provider's model, matched as the package matches names (aliases, dated snapshots).

        None when the package does not know the model, or knows it without a price per token: unknown is not free.
        """
        from genai_prices.data_snapshot import find_provider_by_id

        found = find_provider_by_id(self._snapshot.providers, provider)
        entry = found.find_model(model, all_providers=self._snapshot.providers) if found and model else None
        return None if found is None or entry is None else self.compile(found, entry)

    def listings(self, at_ns: int) -> Iterator[PriceListing]:
        """Every model that has a price per token at the instant."""
        for provider in self._snapshot.providers:
            for model in provider.models:
                schedule = self.compile(provider, model)
                rates = None if schedule is None else schedule.at(at_ns)
                if rates is not None:
                    yield PriceListing(provider=provider.id, model=model.id, rates=rates, checked=None)

    def nearest(self, provider: str, model: str, limit: int = 3) -> list[str]:
        """Names that look like `model` at the provider; provider names when that one is unknown; all models without a provider."""
        from genai_prices.data_snapshot import find_provider_by_id

        providers = self._snapshot.providers
        if not provider:
            # makers before resellers: of several providers with a model of that name, the first is suggested
            ordered = sorted(providers, key=lambda each: each.model_match is None)
            names = [f"{each.id}/{entry.id}" for each in ordered for entry in each.models if self.compile(each, entry)]
            return _alike(model, {name.partition("/")[2]: name for name in reversed(names)}, limit)
        found = find_provider_by_id(providers, provider)
        if found is None:
            return get_close_matches(provider.lower(), [each.id for each in providers], n=limit, cutoff=0.4)
        return _alike(model, {entry.id: entry.id for entry in found.models if self.compile(found, entry)}, limit)

    def provider_of(self, base_url: str) -> str | None:
        """The provider that serves at a well-known API address; None for any other."""
        host = urlsplit(base_url).hostname or ""
        if "." not in host or _is_address(host):
            return None  # an inner name or an address is nobody's public API: no need to load the data
        return next((each.id for each in self._snapshot.providers if re.match(each.api_pattern, base_url)), None)

    def provider_of_model(self, model: str) -> str | None:
        """The provider whose own models are named like that (`gpt-...` is OpenAI's)."""
        name = model.lower()
        return next((each.id for each in self._snapshot.providers if each.model_match and each.model_match.is_match(name)), None)

    def compile(self, provider: "Provider", model: "ModelInfo") -> Schedule | None:
        """An entry of the package as integer rates; None when it has no price per token."""
        identity = f"{self.name}:{provider.id}/{model.id}"
        if not isinstance(model.prices, list):
            rates = _rates(identity, self.version, model.prices)
            return None if rates is None else Schedule((ALWAYS,), (rates,))
        return _dated(identity, self.version, model.prices)


def _dated(identity: str, release: str, prices: "list[ConditionalPrice]") -> Schedule | None:
    """The package tries conditional prices last to first and falls back to the first: the same by date and time of day."""
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    compiled = [_rates(identity, release, each.prices) for each in prices]
    if any(rates is None for rates in compiled):
        return None
    rates = [each for each in compiled if each is not None]
    begins = [midnight_ns(p.constraint.start_date) if isinstance(p.constraint, StartDateConstraint) else ALWAYS for p in prices]
    hours = [p.constraint if isinstance(p.constraint, TimeOfDateConstraint) else None for p in prices]
    starts = sorted({ALWAYS, *begins})
    entries: list[Rates] = []
    windows: list[tuple[Window, ...]] = []
    for start in starts:
        base = max((i for i, begin in enumerate(begins) if begin <= start and hours[i] is None), default=0)
        entries.append(rates[base])
        later = [i for i in range(len(prices) - 1, -1, -1) if hours[i] is not None and (i > base or hours[base] is not None)]
        windows.append(tuple(Window(_time_ns(hour.start_time), _time_ns(hour.end_time), rates[i]) for i in later if (hour := hours[i])))
    return Schedule(tuple(starts), tuple(entries), tuple(windows) if any(windows) else ())


def _rates(identity: str, release: str, price: "ModelPrice") -> Rates | None:
    """One price entry; None when it has no price per token, or a kind of price that is not understood."""
    from genai_prices.types import TieredPrices

    stored = {key: value for key, value in price.__dict__.items() if value is not None}
    priced = {name: stored[key] for key, name in CLASS_OF_KEY.items() if key in stored}
    fee = stored.get(CALL_FEE, Decimal(0))
    if not priced or not isinstance(fee, Decimal):
        return None
    thresholds = {tier.start for value in priced.values() if isinstance(value, TieredPrices) for tier in value.tiers}

    def above(input_tokens: int) -> dict[str, Fraction | None]:
        table: dict[str, Fraction | None] = {}
        for name, value in priced.items():
            if isinstance(value, TieredPrices):
                reached = [tier.price for tier in value.tiers if tier.start <= input_tokens]
                table[name] = Fraction(reached[-1] if reached else value.base)
            else:
                table[name] = Fraction(value)
        return table

    bands = {start: above(start) for start in thresholds}
    return compile_rates(identity, release, above(-1), bands=bands, usd_per_call=Fraction(fee) / 1000)


def _time_ns(moment: time) -> int:
    """Nanoseconds since UTC midnight; a time without a zone is UTC."""
    offset = moment.utcoffset()
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second - (int(offset.total_seconds()) if offset else 0)
    return (seconds % 86_400) * 10**9 + moment.microsecond * 1000


def _alike(name: str, known: dict[str, str], limit: int) -> list[str]:
    """Known names by likeness, those that contain the name first."""
    lower = name.lower()
    containing = sorted((each for each in known if lower and lower in each.lower()), key=len)
    close = get_close_matches(lower, known, n=limit, cutoff=0.5)
    return [known[each] for each in dict.fromkeys([*containing, *close])][:limit]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
