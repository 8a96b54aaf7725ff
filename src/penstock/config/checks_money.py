"""Whether other costs, bills and objectives can be read, and whom they name; hardware is in `checks_fleets`, caps in `checks_spending`."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from penstock.config import checks_fleets
from penstock.config.checks_fleets import price_problems
from penstock.config.fleets import COST_UNITS
from penstock.config.hardware import OtherCost
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.settings import Bill, Settings, TokenPrice, TokenRates
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import DIMENSIONS


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[fleets.*] [costs.*] [bill] [objectives.*]`."""
    yield from checks_fleets.problems(settings)
    for name, cost in settings.costs.items():
        yield from _cost_problems(settings, join("costs", name), cost)
    yield from _bill_problems(settings)
    yield from _objective_problems(settings)


def token_price_problems(where: str, price: TokenRates) -> Iterator[Problem]:
    """Prices per million tokens must be amounts, not below 0; the exact value of a number is the one that is written."""
    for name, rates in price.processing.items() if isinstance(price, TokenPrice) else ():
        yield from token_price_problems(join(f"{where}.processing", name), rates)
    for key in TokenRates.__struct_fields__:
        value = getattr(price, key)
        try:
            amount = Decimal(0 if value is None else str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not (amount.is_finite() and amount >= 0):
            yield error(f"{where}.{key}", f"`{value}` is not a price", "write USD per million tokens, such as `0.05`")


def _cost_problems(settings: Settings, where: str, cost: OtherCost) -> Iterator[Problem]:
    yield from price_problems(f"{where}.price", cost.price, COST_UNITS)
    named: Mapping[str, Mapping[str, object]] = {
        "upstream": settings.upstreams,
        "model": settings.models,
        "fleet": settings.fleets,
        "tier": settings.tiers,
    }
    for key, value in cost.share.items():
        place = join(f"{where}.share", key)
        if key in named and value not in named[key]:
            hint = nearest(value, named[key], f"add a table [{key}s.{value}]")
            yield error(place, f"there is no {key} `{value}`, so nobody bears it", hint)
        yield from key_problems(settings, place, key)


def key_problems(settings: Settings, where: str, key: str) -> Iterator[Problem]:
    """Whether requests can be told apart by a key: a dimension of theirs, or a tag that is declared."""
    declared = {*settings.tags.declared, *settings.tags.required}
    known = {name.replace("-", "_") for name in (*DIMENSIONS, *PERIODS, *declared)}
    if key.replace("-", "_") not in known:
        hint = nearest(key, sorted(known), "declare it in [tags]")
        yield warning(where, f"`{key}` is no field of requests and no declared tag", hint)


def _bill_problems(settings: Settings) -> Iterator[Problem]:
    by = settings.bill.by
    if by == Bill().by:
        return
    if not by:
        yield error("bill.by", "a bill is split by something", 'name at least one key, such as by = ["team"]')
    for index, key in enumerate(by):
        place = f"bill.by[{index}]"
        if key.replace("-", "_") in (each.replace("-", "_") for each in by[:index]):
            yield error(place, f"`{key}` stands there twice", "remove one of them")
        yield from key_problems(settings, place, key)


def _objective_problems(settings: Settings) -> Iterator[Problem]:
    classes = settings.tags.allowed.get("sla")
    for name, objective in settings.objectives.items():
        where = join("objectives", name)
        if objective.first_token is None and objective.duration is None:
            yield error(where, "it promises nothing", 'write first_token = "500ms", duration = "10s", or both')
        for key in ("first_token", "duration"):
            value = getattr(objective, key)
            if value is not None and value <= 0:
                yield error(f"{where}.{key}", "nothing is answered in no time", 'write a time above 0, such as "500ms"')
        if classes is not None and name != "default" and name not in classes:
            yield warning(where, f"no request can have the sla `{name}`", nearest(name, (*classes, "default"), "add it to [tags] allowed"))
