"""The order of prices, in one place: the config's price, else the fleet's, else the public book's, else none and why."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from penstock.domain.prices.rates import Rates
from penstock.domain.prices.schedule import Schedule

UNPRICED_HINT = "give the model a `price`, its fleet a `planned_tokens_per_second`, or its upstream a `provider`"


class Offer(msgspec.Struct, frozen=True):
    """What one source says about a model: its standard price, or None; `why` is a clause that holds either way."""

    schedule: Schedule | None
    why: str
    classes: Mapping[str, Schedule] = {}
    """prices of processing classes: `batch`, `flex`, `priority` ..."""
    classless: bool = False
    """own hardware: it knows no processing classes, so the standard price holds whatever a request says of its class"""


class PriceBook:
    """The price of every configured model. Immutable; a lookup is one dictionary access."""

    def __init__(self, offers: Mapping[str, Sequence[Offer]]) -> None:
        """`offers`: the sources of each model in order of precedence; the first that has a price counts."""
        self._offers: dict[str, Offer] = {}
        self._why: dict[str, str] = {}
        for model, candidates in offers.items():
            chosen = next((offer for offer in candidates if offer.schedule is not None or offer.classes), None)
            if chosen is not None:
                self._offers[model] = chosen
            if chosen is not None and chosen.schedule is not None:
                self._why[model] = f"priced: {chosen.why}"
            else:
                reasons = "; ".join(offer.why for offer in candidates)
                self._why[model] = f"unpriced: {reasons or 'no source of prices'}"

    def schedule(self, model: str, processing: str | None = None) -> Schedule | None:
        """The dated price of a configured model, of its standard processing or a class of it (`batch`, `flex`, `priority`).

        None: unpriced, or not configured. A class without a price of its own is unpriced: the standard price is never taken
        for it, unless the model runs on own hardware, which has no classes.
        """
        offer = self._offers.get(model)
        if offer is None:
            return None
        if processing is None:
            return offer.schedule
        return offer.classes.get(processing) or (offer.schedule if offer.classless else None)

    def classes(self, model: str) -> Mapping[str, Schedule]:
        """Processing classes of a model that have prices of their own."""
        offer = self._offers.get(model)
        return {} if offer is None else offer.classes

    def classless(self, model: str) -> bool:
        """Whether the standard price of a model holds for requests of any processing class."""
        offer = self._offers.get(model)
        return offer is not None and offer.classless

    def why(self, model: str) -> str:
        """Where the price of a model comes from, or why it has none, for people."""
        return self._why.get(model, f"unpriced: `{model}` is not a configured model")

    def models(self) -> list[str]:
        """Configured models, in the order of the config."""
        return list(self._why)

    def unpriced(self, at_ns: int) -> list[str]:
        """Models without a standard price at an instant: none at all, or one that begins later."""
        return [model for model in self._why if (entry := self.schedule(model)) is None or entry.at(at_ns) is None]

    def entries(self) -> Iterator[Rates]:
        """Every price entry that a record may name: of all models, classes, dates and hours; each (id, version) once."""
        told: set[tuple[str, str]] = set()
        for offer in self._offers.values():
            for schedule in (offer.schedule, *offer.classes.values()):
                for rates in schedule.entries() if schedule is not None else ():
                    if (rates.id, rates.version) not in told:
                        told.add((rates.id, rates.version))
                        yield rates
