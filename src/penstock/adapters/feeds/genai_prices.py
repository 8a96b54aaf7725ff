"""The public price book: genai-prices' bundled data, compiled to integer rates. Importing its data takes about 0.2 s and 14 MB,
so that happens when the feed is first asked, and never when every model has a price of its own.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from penstock.adapters.feeds import genai_entries
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.schedule import Schedule
from penstock.ports.price_feed import PriceListing

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider


class GenaiPrices:
    """A `PriceFeed` over the data that the installed genai-prices package carries, or over other data of its published format.
    Never asks the network."""

    name = "genai-prices"

    def __init__(self, published: bytes | None = None, release: str | None = None) -> None:
        """`published`: a `data.json` of the package, else what is installed; `release` names it. Raises `PriceError` when first asked."""
        self._published = published
        self._release = release

    @cached_property
    def version(self) -> str:
        return self._release or version("genai-prices")

    @cached_property
    def _snapshot(self) -> "DataSnapshot":
        from genai_prices.data_snapshot import DataSnapshot

        if self._published is not None:
            return DataSnapshot(providers=read_published(self._published), from_auto_update=False)
        from genai_prices.data import providers

        return DataSnapshot(providers=providers, from_auto_update=False)

    def schedule(self, provider: str, model: str) -> Schedule | None:
        """The dated standard price of a provider's model, matched as the package matches names (aliases, dated snapshots).

        None when the package does not know the model, or knows it without a price per token: unknown is not free.
        """
        found = self._entry(provider, model)
        return None if found is None else self.compile(*found)

    def classes(self, provider: str, model: str) -> dict[str, Schedule]:
        """The dated prices of the model's processing classes."""
        found = self._entry(provider, model)
        return {} if found is None else self.compile_classes(*found)

    def _entry(self, provider: str, model: str) -> "tuple[Provider, ModelInfo] | None":
        from genai_prices.data_snapshot import find_provider_by_id

        found = find_provider_by_id(self._snapshot.providers, provider)
        entry = found.find_model(model, all_providers=self._snapshot.providers) if found and model else None
        return None if found is None or entry is None else (found, entry)

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
        return genai_entries.standard(self._identity(provider, model), self.version, model)

    def compile_classes(self, provider: "Provider", model: "ModelInfo") -> dict[str, Schedule]:
        """The processing classes of an entry; a model that the provider only resells has none, as in the package."""
        if not any(model is each for each in provider.models):
            return {}
        return genai_entries.classes(self._identity(provider, model), self.version, model)

    def _identity(self, provider: "Provider", model: "ModelInfo") -> str:
        return f"{self.name}:{provider.id}/{model.id}"


def read_published(published: bytes) -> "list[Provider]":
    """The providers of a `data.json` as the package publishes it. Raises `PriceError`."""
    import json
    import warnings
    from decimal import Decimal

    from genai_prices.types import _providers_from_raw
    from pydantic import ValidationError

    try:
        raw = json.loads(published, parse_float=Decimal)
        if not (isinstance(raw, list) and raw and all(isinstance(each, dict) and "models" in each for each in raw)):
            raise PriceError("not a data.json of genai-prices: it must be a list of providers with their models")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # prices of kinds that are newer than the package are not ours to tell
            return _providers_from_raw(raw)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise PriceError(f"not a data.json of genai-prices {version('genai-prices')}: {where}: {first['msg'].lower()}") from None
    except ValueError as problem:
        raise PriceError(f"not a data.json of genai-prices: {problem}") from None


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
