"""Whether prices of hardware, other costs, budgets and objectives can be read, and whom they name."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

from penstock.config.limits import parse_limit, parse_target
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.settings import Alert, Budget, Commitment, Fleet, Settings, Slo, TokenPrice
from penstock.domain.units import Rate, UnitError

FLEET_UNITS = ("gpu-hour", "hour", "day", "month")
COST_UNITS = ("hour", "day", "month")


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[fleets.*] [costs.*] [[budgets]] [[slos]] [notify.*]`."""
    for name, fleet in settings.fleets.items():
        where = join("fleets", name)
        if fleet.upstream is not None and fleet.upstream not in settings.upstreams:
            hint = nearest(fleet.upstream, settings.upstreams, "remove it: a fleet may stand alone")
            yield error(f"{where}.upstream", f"there is no upstream `{fleet.upstream}`", hint)
        yield from _price_problems(where, fleet)
        yield from _commitment_problems(f"{where}.commitment", fleet)
        if fleet.runs is not None:
            hint = "give `count` and `planned_tokens_per_second`: requests are priced by these"
            yield warning(f"{where}.runs", "running times of a fleet are not read yet", hint)
    for name, cost in settings.costs.items():
        yield from _rate_problems(f"{join('costs', name)}.price", cost.price, COST_UNITS)
        yield warning(join("costs", name), "this cost is in no report yet", "add it to what `penstock cost` shows by hand for now")
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


def token_price_problems(where: str, price: TokenPrice) -> Iterator[Problem]:
    """Prices per million tokens must be amounts, not below 0; the exact value of a number is the one that is written."""
    for key in price.__struct_fields__:
        value = getattr(price, key)
        try:
            amount = Decimal(0 if value is None else str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not (amount.is_finite() and amount >= 0):
            yield error(f"{where}.{key}", f"`{value}` is not a price", "write USD per million tokens, such as `0.05`")


def _rate_problems(where: str, text: str, units: Sequence[str]) -> Iterator[Problem]:
    try:
        per = Rate.parse(text).per
    except UnitError as problem:
        yield _unit_error(where, problem)
        return
    if per not in units:
        yield error(where, f"a price per {per} is not known here", f"write it per {', '.join(units)}, such as `0.79 USD/{units[0]}`")


def _price_problems(where: str, fleet: Fleet) -> Iterator[Problem]:
    if isinstance(fleet.price, str):
        yield from _rate_problems(f"{where}.price", fleet.price, FLEET_UNITS)
        return
    starts = []
    for index, dated in enumerate(fleet.price or ()):
        yield from _rate_problems(f"{where}.price[{index}].price", dated.price, FLEET_UNITS)
        try:
            starts.append(date.fromisoformat(dated.from_))
        except ValueError:
            yield error(f"{where}.price[{index}].from", f"`{dated.from_}` is not a day", "write it like `2026-01-01`")
    if len(set(starts)) < len(starts):
        yield error(f"{where}.price", "two prices start on the same day", "keep one of them")


def _commitment_problems(where: str, fleet: Fleet) -> Iterator[Problem]:
    commitment = fleet.commitment
    if not isinstance(commitment, Commitment):
        return
    if commitment.kind == "owned" and (commitment.capex is None or not commitment.years):
        yield error(where, "owned hardware needs `capex` and `years`", 'write { kind = "owned", capex = "30000 USD", years = 4 }')
    if commitment.kind == "reserved" and commitment.term is None:
        yield error(where, "a reservation needs a `term`", 'write { kind = "reserved", term = "1y", ... }')


def _budget_problems(settings: Settings, where: str, budget: Budget) -> Iterator[Problem]:
    try:
        parse_limit(budget.limit)
    except UnitError as problem:
        yield _unit_error(f"{where}.limit", problem)
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
        yield _unit_error(f"{where}.target", problem)
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


def _unit_error(where: str, problem: UnitError) -> Problem:
    text, _, hint = str(problem).partition(": ")
    return error(where, text, hint)
