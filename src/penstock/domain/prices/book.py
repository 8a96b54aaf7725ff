"""The order of prices, in one place: the config's price, else the fleet's, else the public book's, else none and why."""

from collections.abc import Mapping, Sequence

import msgspec

from penstock.domain.prices.schedule import Schedule

UNPRICED_HINT = "give the model a `price`, its fleet a `planned_tokens_per_second`, or its upstream a `provider`"


class Offer(msgspec.Struct, frozen=True):
    """What one source says about a model: its price, or None; `why` is a clause that holds either way."""

    schedule: Schedule | None
    why: str


class PriceBook:
    """The price of every configured model. Immutable; a lookup is one dictionary access."""

    def __init__(self, offers: Mapping[str, Sequence[Offer]]) -> None:
        """`offers`: the sources of each model in order of precedence; the first that has a price counts."""
        self._schedules: dict[str, Schedule] = {}
        self._why: dict[str, str] = {}
        for model, candidates in offers.items():
            chosen = next((offer for offer in candidates if offer.schedule is not None), None)
            if chosen is not None and chosen.schedule is not None:
                self._schedules[model] = chosen.schedule
                self._why[model] = f"priced: {chosen.why}"
            else:
                reasons = "; ".join(offer.why for offer in candidates)
                self._why[model] = f"unpriced: {reasons or 'no source of prices'}"

    def schedule(self, model: str) -> Schedule | None:
        """The dated price of a configured model; None: unpriced, or not configured."""
        return self._schedules.get(model)

    def why(self, model: str) -> str:
        """Where the price of a model comes from, or why it has none, for people."""
        return self._why.get(model, f"unpriced: `{model}` is not a configured model")

    def models(self) -> list[str]:
        """Configured models, in the order of the config."""
        return list(self._why)

    def unpriced(self, at_ns: int) -> list[str]:
        """Models without a price at an instant: none at all, or one that begins later."""
        return [model for model in self._why if (entry := self._schedules.get(model)) is None or entry.at(at_ns) is None]
