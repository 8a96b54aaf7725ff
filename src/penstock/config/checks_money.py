"""Whether other costs, bills, objectives and budgets can be read, and whom they name; hardware is in `checks_fleets`."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from penstock.config import checks_fleets
from penstock.config.checks_fleets import price_problems, unit_error
from penstock.config.fleets import COST_UNITS
from penstock.config.hardware import OtherCost
from penstock.config.limits import parse_limit, parse_target
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.settings import Alert, Bill, Budget, Settings, Slo, TokenPrice, TokenRates
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import DIMENSIONS
from penstock.domain.units import UnitError


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[fleets.*] [costs.*] [bill] [objectives.*] [[budgets]] [[slos]] [notify.*]`."""
    yield from checks_fleets.problems(settings)
    for name, cost in settings.costs.items():
        yield from _cost_problems(settings, join("costs", name), cost)
    yield from _bill_problems(settings)
    yield from _objective_problems(settings)
    for index, budget in enumerate(settings.budgets):
        yield from _budget_problems(settings, f"budgets[{index}]", budget)
    yield from _repeated_names(settings.budgets)
    for index, slo in enumerate(settings.slos):
        yield from _slo_problems(settings, f"slos[{index}]", slo)
    for name in settings.notify:
        hint = "watch `penstock cost` (`--fail-over` exits with 3) or /metrics for now"
        yield warning(join("notify", name), "nothing sends messages yet", hint)


def not_enforced(settings: Settings) -> Iterator[Problem]:
    """Promises of money that this version cannot keep."""
    for index, budget in enumerate(settings.budgets):
        if budget.at_limit != "alert":
            text = f"`{budget.name}` is a hard cap, and a cap that cannot be enforced refuses to start: hard caps are not built yet"
            yield error(f"budgets[{index}].at_limit", text, 'set at_limit = "alert", or remove the budget')
    for index, slo in enumerate(settings.slos):
        yield error(f"slos[{index}]", f"responses to a missed {slo.metric} target are not built yet", "remove the objective for now")


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
        yield from _key_problems(settings, place, key)


def _key_problems(settings: Settings, where: str, key: str) -> Iterator[Problem]:
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
        yield from _key_problems(settings, place, key)


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


def _budget_problems(settings: Settings, where: str, budget: Budget) -> Iterator[Problem]:
    try:
        parse_limit(budget.limit)
    except UnitError as problem:
        yield unit_error(f"{where}.limit", problem)
    yield from _notify_problems(settings, f"{where}.notify", budget.notify)
    for index, mark in enumerate(budget.alert_at):
        at, place = (mark.at if isinstance(mark, Alert) else mark), f"{where}.alert_at[{index}]"
        if not isinstance(at, str) and at <= 0:
            yield error(place, "a mark is a percentage above 0", "write it like `80`")
        if isinstance(mark, Alert):
            yield from _notify_problems(settings, f"{place}.notify", mark.notify)
    if budget.at_limit == "alert":
        yield warning(where, f"`{budget.name}` is read, but alerts are not sent yet", "watch it on the page Today of the console")


def _repeated_names(budgets: Sequence[Budget]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, budget in enumerate(budgets):
        if budget.name in seen:
            yield error(f"budgets[{index}].name", f"there are two budgets `{budget.name}`", "give each its own name")
        seen.add(budget.name)


def _slo_problems(settings: Settings, where: str, slo: Slo) -> Iterator[Problem]:
    try:
        parse_target(slo.target)
    except UnitError as problem:
        yield unit_error(f"{where}.target", problem)
    if slo.window <= 0:
        yield error(f"{where}.window", "nothing can be measured in no time", 'write a time above 0, such as "6h"')
    for index, response in enumerate(slo.respond):
        place = f"{where}.respond[{index}]"
        kind, _, name = response.partition(":")
        if kind == "notify":
            yield from _notify_problems(settings, place, (name,))
        elif kind != "shift_traffic":
            yield error(place, f"`{response}` is not a response", "write `shift_traffic:<tier>` or `notify:<name>`")
        elif name not in settings.tiers:
            yield error(place, f"there is no tier `{name}`", nearest(name, settings.tiers, "add it to [tiers]"))


def _notify_problems(settings: Settings, where: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if name not in settings.notify:
            yield error(where, f"there is no [notify.{name}]", nearest(name, settings.notify, f"add a table [notify.{name}]"))
