"""Whether budgets, limits, objectives and messages can be read, whom they name, and whether a cap can be held at all."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import msgspec

from penstock.config.checks_fleets import unit_error
from penstock.config.checks_money import key_problems
from penstock.config.checks_server import timezone_problems
from penstock.config.limits import Limit, parse_limit, parse_rate, parse_target
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.settings import Settings
from penstock.config.spending import Alert, Budget, RateLimit, Slo
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import DIMENSIONS
from penstock.domain.units import UnitError

KNOWN_AT_ADMISSION = ("endpoint", "requested_model", "key_id", "sla")
KNOWN_BY_MODEL = ("model", "model_version", "optimization", "tier", "upstream", "fleet", "gpu", "instance", "region")
"""what the config says of every model that may answer"""
_RESPONSES = ("shift_traffic", "downgrade", "hold_best_effort", "scale_down", "notify")
MOST_EXACT_USD = 9_000_000
"""scripts of Redis count in doubles, which hold nano-USD exactly up to 2^53"""
MOST_EXACT_GPU_HOURS = 2_000_000
_SHORTEST_S = {"hour": 3600, "day": 82_800, "week": 601_200, "month": 2_415_600}


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[[budgets]] [[limits]] [[slos]] [notify.*]`."""
    for index, budget in enumerate(settings.budgets):
        yield from _budget_problems(settings, f"budgets[{index}]", budget)
    yield from _repeated_names("budgets", [budget.name for budget in settings.budgets])
    yield from _contradictions(settings.budgets)
    for index, limit in enumerate(settings.limits):
        yield from _limit_problems(settings, f"limits[{index}]", limit)
    yield from _repeated_names("limits", [limit.name for limit in settings.limits])
    for index, slo in enumerate(settings.slos):
        yield from _slo_problems(settings, f"slos[{index}]", slo)
    for name, notify in settings.notify.items():
        if isinstance(notify.url, str):
            yield from _address_problems(join("notify", name), notify.kind, notify.url)


def is_cap(budget: Budget) -> bool:
    """Whether it stops requests: whatever is more than an alert."""
    return budget.at_limit != "alert"


def _budget_problems(settings: Settings, where: str, budget: Budget) -> Iterator[Problem]:
    try:
        limit = parse_limit(budget.limit)
    except UnitError as problem:
        yield unit_error(f"{where}.limit", problem)
        return
    yield from _where_problems(settings, where, budget.where, caps=is_cap(budget))
    yield from _notify_problems(settings, f"{where}.notify", budget.notify)
    for index, mark in enumerate(budget.alert_at):
        at, place = (mark.at if isinstance(mark, Alert) else mark), f"{where}.alert_at[{index}]"
        if not isinstance(at, str) and at <= 0:
            yield error(place, "a mark is a percentage above 0", "write it like `80`")
        if isinstance(mark, Alert):
            yield from _notify_problems(settings, f"{place}.notify", mark.notify)
    if budget.timezone is not None:
        yield from timezone_problems(f"{where}.timezone", budget.timezone)
    if budget.at_limit == "queue" and budget.max_wait <= 0:
        yield error(f"{where}.max_wait", "nobody can wait in no time", 'write a time such as "30s", or at_limit = "refuse"')
    most = MOST_EXACT_USD if limit.unit == "USD" else MOST_EXACT_GPU_HOURS
    if is_cap(budget) and limit.amount > most:
        yield error(f"{where}.limit", f"a cap above {most:,} {limit.unit} would not be exact", "split it into several budgets")
    if is_cap(budget):
        yield from _evaded(settings, where, budget)
    if limit.unit == "gpu-hours" and is_cap(budget):
        yield from _gpu_hour_problems(settings, where, budget)


def _gpu_hour_problems(settings: Settings, where: str, budget: Budget) -> Iterator[Problem]:
    """A cap in GPU-hours holds what a request may take at most, which only the fleet's planned work tells."""
    for name, fleet in settings.fleets.items():
        if fleet.upstream is not None and budget.where.get("fleet", name) == name and not fleet.planned_tokens_per_second:
            text = f"a cap in GPU-hours needs to know how long fleet `{name}` works for a request"
            yield error(where, text, f"set fleets.{name}.planned_tokens_per_second")


def _where_problems(settings: Settings, where: str, filters: Mapping[str, str], *, caps: bool) -> Iterator[Problem]:
    for key, value in filters.items():
        place = join(f"{where}.where", key)
        plain = key.replace("-", "_")
        if plain != key:
            yield error(place, f"tags are written with `_`: `{plain}`", f"write {plain} = ...")
            continue
        if not value.strip():
            yield error(place, "no request has an empty value", f'write {key} = "..."')
        for problem in key_problems(settings, place, key):  # a cap on a tag that is mistyped would let everybody through
            yield msgspec.structs.replace(problem, severity="error") if caps else problem
        if caps and key in (*DIMENSIONS, *PERIODS) and key not in (*KNOWN_AT_ADMISSION, *KNOWN_BY_MODEL):
            hint = 'use a tag, a model, a tier, an upstream or a fleet, or set at_limit = "alert"'
            yield error(place, f"`{key}` is only known after the answer, so no cap can be held by it", hint)
        named: Mapping[str, Mapping[str, object]] = {
            "upstream": settings.upstreams, "model": settings.models, "fleet": settings.fleets, "tier": settings.tiers,
        }  # fmt: skip
        if key in named and value not in named[key]:
            yield error(place, f"there is no {key} `{value}`, so nothing would count", nearest(value, named[key], f"add it to [{key}s]"))
        allowed = settings.tags.allowed.get(key)
        if allowed is not None and value not in allowed:
            yield error(place, f"no request can have {key} = `{value}`", nearest(value, allowed, "add it to [tags] allowed"))


def _repeated_names(table: str, names: Sequence[str]) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield error(f"{table}[{index}].name", f"there are two {table} `{name}`", "give each its own name")


def _contradictions(budgets: Sequence[Budget]) -> Iterator[Problem]:
    """Pairs of caps of which one can never be reached, because the other covers it with less."""
    readable = []
    for index, budget in enumerate(budgets):
        try:
            readable.append((index, budget, parse_limit(budget.limit)))
        except UnitError:
            continue
    for (i, one, a), (j, other, b) in combinations([each for each in readable if is_cap(each[1])], 2):
        if a.unit != b.unit:
            continue
        for inner, outer, idle, below, above in ((one, other, i, b, a), (other, one, j, a, b)):
            longer = _shortest_s(below) >= _shortest_s(above)
            if outer.where.items() <= inner.where.items() and above.amount > below.amount and longer:
                text = f"`{inner.name}` can never be reached: `{outer.name}` covers it with less"
                yield warning(f"budgets[{idle}].limit", text, "lower it, or raise the other one")
                break


def _shortest_s(limit: Limit) -> float:
    """Seconds of a limit's window, of calendar periods the shortest; a calendar one may let twice its amount through in a window."""
    return limit.rolling_s if limit.rolling_s is not None else _SHORTEST_S[limit.period or "hour"]


def _limit_problems(settings: Settings, where: str, limit: RateLimit) -> Iterator[Problem]:
    if limit.requests is None and limit.tokens is None and limit.concurrent is None:
        yield error(where, "it limits nothing", 'write requests = "600 / minute", tokens = "100000 / minute" or concurrent = 10')
    for key in ("requests", "tokens"):
        text = getattr(limit, key)
        try:
            _ = text is None or parse_rate(text)
        except UnitError as problem:
            yield unit_error(f"{where}.{key}", problem)
    yield from _where_problems(settings, where, limit.where, caps=True)
    for index, key in enumerate(limit.by):
        yield from _where_problems(settings, f"{where}.by[{index}]", {}, caps=True)
        yield from key_problems(settings, f"{where}.by[{index}]", key)
        if key in DIMENSIONS and key not in KNOWN_AT_ADMISSION:
            text = f"`{key}` is not known when a request comes in"
            yield error(f"{where}.by[{index}]", text, "use a tag, `key_id`, `requested_model` or `endpoint`")


def _slo_problems(settings: Settings, where: str, slo: Slo) -> Iterator[Problem]:
    try:
        if parse_target(slo.target) == 0:
            yield error(f"{where}.target", "nothing is produced for nothing", "write an amount above 0, such as `<= 0.0040 USD`")
    except UnitError as problem:
        yield unit_error(f"{where}.target", problem)
    if slo.window < 60:
        yield error(f"{where}.window", "nothing is told by less than a minute", 'write a longer time, such as "6h"')
    yield from _where_problems(settings, where, slo.where, caps=False)
    for index, response in enumerate(slo.respond):
        place = f"{where}.respond[{index}]"
        kind, colon, name = response.partition(":")
        if kind not in _RESPONSES or bool(colon) != (kind in ("shift_traffic", "scale_down", "notify")):
            known = "`shift_traffic:<tier>`, `downgrade`, `hold_best_effort`, `scale_down:<fleet>` or `notify:<name>`"
            yield error(place, f"`{response}` is not a response", f"write {known}")
        elif kind == "notify":
            yield from _notify_problems(settings, place, (name,))
        elif kind == "shift_traffic" and name not in settings.tiers:
            yield error(place, f"there is no tier `{name}`", nearest(name, settings.tiers, "add it to [tiers]"))
        elif kind == "scale_down" and name not in settings.fleets:
            yield error(place, f"there is no fleet `{name}`", nearest(name, settings.fleets, "add it to [fleets]"))


def _notify_problems(settings: Settings, where: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if name not in settings.notify:
            yield error(where, f"there is no [notify.{name}]", nearest(name, settings.notify, f"add a table [notify.{name}]"))


def _evaded(settings: Settings, where: str, budget: Budget) -> Iterator[Problem]:
    """A cap by what callers say of themselves holds for those who say so."""
    if settings.auth.required:
        return
    for key in budget.where:
        if key in settings.tags.declared and key not in settings.tags.required:
            text = f"callers without a key say `{key}` of themselves: who leaves it out is not held by `{budget.name}`"
            yield warning(
                join(f"{where}.where", key), text, f'set auth.required = true and bind {key} to keys, or tags.required = ["{key}"]'
            )


def _address_problems(where: str, kind: str, url: str) -> Iterator[Problem]:
    if kind in ("webhook", "slack") and not url.startswith(("http://", "https://")):
        yield error(f"{where}.url", f"a {kind} is reached at an http(s) address", 'write url = "https://..." or url = { env = "NAME" }')
    if kind == "email" and not url.startswith(("mailto://", "mailtos://")):
        hint = 'write it like `mailtos://user:password@smtp.example.com?to=team@example.com`, best as { env = "NAME" }'
        yield error(f"{where}.url", "e-mail is sent by an address that begins with mailtos://", hint)
    if "://" not in url:
        yield error(f"{where}.url", "that is no address", 'write url = "https://..." or url = { env = "NAME" }')
