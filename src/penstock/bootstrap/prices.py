"""The price of every configured model, from the sources in their order: the config, own fleets, the user's file, the public book."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.adapters.feeds.overrides import Overrides
    from penstock.config.settings import Model
    from penstock.domain.prices.book import Offer, PriceBook
    from penstock.domain.prices.schedule import Schedule
    from penstock.ports.price_feed import PriceFeed


def price_feed() -> "PriceFeed":
    """The public price book."""
    from penstock.adapters.feeds.genai_prices import GenaiPrices

    return GenaiPrices()


def own_prices(settings: Settings) -> "Overrides | None":
    """The user's price file; None where none is named. Raises `UnitError` or `OSError` when it cannot be read."""
    from penstock.adapters.feeds.overrides import read_overrides

    return read_overrides(Path(settings.server.prices)) if settings.server.prices else None


def public_name(settings: Settings, name: str, feed: "PriceFeed") -> tuple[str, str] | None:
    """Provider and its name of a model that public prices are looked up by; None for own hardware and prices of the config."""
    model = settings.models[name]
    if model.price is not None or any(fleet.upstream == model.upstream for fleet in settings.fleets.values()):
        return None
    provider = _provider(settings, model, feed)
    return None if provider is None else (provider, model.name or name)


def price_book(settings: Settings) -> "PriceBook":
    """The price of every configured model, in the order of precedence. Raises `UnitError` or `OSError` for prices that cannot be read."""
    from penstock.domain.prices.book import PriceBook

    feed, overrides = price_feed(), own_prices(settings)
    return PriceBook({name: list(_offers(settings, name, model, feed, overrides)) for name, model in settings.models.items()})


def _offers(settings: Settings, name: str, model: "Model", feed: "PriceFeed", overrides: "Overrides | None") -> Iterator["Offer"]:
    """What each source says of a model; ends at the first price, so that the public book is only loaded when it is needed."""
    from msgspec.structs import asdict

    from penstock.config.fleets import fleet_plan
    from penstock.domain.prices.book import Offer
    from penstock.domain.prices.config_price import fleet_gap, fleet_schedule, rates_from_config
    from penstock.domain.prices.schedule import constant

    if model.price is not None:
        own = asdict(model.price)
        classes = {key: constant(rates_from_config(name, asdict(rates), key)) for key, rates in own.pop("processing").items()}
        yield Offer(constant(rates_from_config(name, own)), "by the config's `price`", classes, _provider(settings, model, feed) is None)
        return
    yield Offer(None, "the config gives no price")
    plans = [fleet_plan(key, fleet) for key, fleet in settings.fleets.items() if fleet.upstream == model.upstream]
    schedule, gap = fleet_schedule(plans), fleet_gap(plans)
    names = ", ".join(f"`{plan.name}`" for plan in plans)
    why = gap or f"by fleet {names}: its hourly price over its planned work, an estimate until the hour is closed"
    yield Offer(schedule, why, classless=True)
    if schedule is None:
        yield _public_offer(settings, name, model, feed, overrides)


def _public_offer(settings: Settings, name: str, model: "Model", feed: "PriceFeed", overrides: "Overrides | None") -> "Offer":
    """The user's price file laid over the public book, for the standard price and for each processing class by itself."""
    from penstock.domain.prices.book import Offer
    from penstock.domain.prices.schedule import overlay

    called, provider = model.name or name, _provider(settings, model, feed)
    if model.upstream not in settings.upstreams:
        return Offer(None, f"there is no upstream `{model.upstream}`")
    public, classes = _public_prices(feed, provider, called) if provider else (None, {})
    own, own_classes = _own_prices(overrides, name, provider, called)
    classes |= {label: overlay(classes.get(label), later) for label, later in own_classes.items()}
    if own is not None:
        before = f", before that by {feed.name} {feed.version}" if public else ""
        return Offer(overlay(public, own), f"by `{overrides.source if overrides else ''}`{before}", classes, provider is None)
    if provider is None:
        return Offer(None, f"its upstream `{model.upstream}` has no provider")
    if public is not None:
        return Offer(public, f"by {feed.name} {feed.version} as {public.rates[-1].id.partition(':')[2]}", classes)
    nearest = feed.nearest(provider, called)
    known = f" (it knows {', '.join(nearest)})" if nearest else ""
    return Offer(None, f"{feed.name} {feed.version} has no price per token for {provider}/{called}{known}", classes)


def _public_prices(feed: "PriceFeed", provider: str, called: str) -> "tuple[Schedule | None, dict[str, Schedule]]":
    """What the public book says, and where it says nothing the facts that Penstock carries."""
    from penstock.adapters.feeds.overrides import carried_prices

    carried = carried_prices()
    public = feed.schedule(provider, called) or carried.schedule(provider, called)
    return public, {**carried.classes(provider, called), **feed.classes(provider, called)}


def _own_prices(
    overrides: "Overrides | None", name: str, provider: str | None, called: str
) -> "tuple[Schedule | None, dict[str, Schedule]]":
    """What the user's price file says: by the configured name, else by the provider's."""
    if overrides is None:
        return None, {}
    named, classes = overrides.schedule(None, name), overrides.classes(None, name)
    if provider is None:
        return named, classes
    return named or overrides.schedule(provider, called), {**overrides.classes(provider, called), **classes}


def _provider(settings: Settings, model: "Model", feed: "PriceFeed") -> str | None:
    """The provider behind a model's upstream: as configured, else the one at whose well-known address it stands."""
    upstream = settings.upstreams.get(model.upstream)
    if upstream is None or upstream.provider is not None or not upstream.base_urls:
        return None if upstream is None else upstream.provider
    found = {feed.provider_of(url) for url in upstream.base_urls}
    return found.pop() if len(found) == 1 else None
