"""Public prices of API models, dated."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from penstock.domain.prices.rates import Rates
from penstock.domain.prices.schedule import Schedule


class PriceListing(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `penstock prices list`."""

    provider: str
    model: str
    rates: Rates
    checked: str | None
    """date on which the source last checked it"""


class PriceFeed(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def schedule(self, provider: str, model: str) -> Schedule | None:
        """The dated standard price of a provider's model; None when the feed does not know it."""

    def classes(self, provider: str, model: str) -> Mapping[str, Schedule]:
        """The dated prices of the model's processing classes (`batch`, `flex`, `priority`), as far as the feed knows them."""

    def listings(self, at_ns: int) -> Iterator[PriceListing]: ...

    def nearest(self, provider: str, model: str, limit: int = 3) -> list[str]:
        """Priced names that look alike at the provider; provider names when that one is unknown; `provider/model` for provider ""."""

    def provider_of(self, base_url: str) -> str | None:
        """The provider behind a well-known API address; None for any other."""

    def provider_of_model(self, model: str) -> str | None:
        """The provider whose own models are named like that."""
