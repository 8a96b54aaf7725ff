"""Whether tiers, routes, checks, features and rules name what exists, and whether a route can keep what it says."""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from penstock.config.checks_fleets import unit_error
from penstock.config.checks_money import key_problems
from penstock.config.limits import parse_limit
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.routing import JUDGED, LOOKS, Check, Preset, Route
from penstock.config.settings import Settings
from penstock.domain.routing.tiers import Condition, parse_condition
from penstock.domain.units import UnitError

_NEEDS: Final = {"regex": "pattern", "python": "callable", "http": "url", "verifier": "model"}
_TAKES: Final = {**_NEEDS, "json_schema": "schema"}
_EXAMPLES: Final = {
    "pattern": "pattern = '^[A-Z]{3}$'",
    "callable": 'callable = "package.module:function"',
    "url": 'url = "http://127.0.0.1:9000/check"',
    "model": 'model = "..."',
}
_CALLABLE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[tiers] [routes.*] [checks.*] [features.*] [[rules]]`."""
    yield from _tier_problems(settings)
    for name, route in settings.routes.items():
        yield from _route_problems(settings, join("routes", name), name, route)
    for name, check in settings.checks.items():
        yield from _check_problems(settings, join("checks", name), check)
        if not any(name in route.checks for route in settings.routes.values()):
            yield warning(join("checks", name), "no route names it, so it is never made", f'write checks = ["{name}"] on a route')
    yield from _feature_problems(settings)
    yield from _rule_problems(settings)


def unpriced_ladders(settings: Settings, priced: Collection[str]) -> Iterator[Problem]:
    """Routes that promise something about tiers whose prices nobody knows; `priced`: the models that have one."""
    for name, route in settings.routes.items():
        for tier in route.tiers if route.error_budget is not None or route.strategy == "learned" else ():
            if tier in settings.tiers and (model := settings.tiers[tier].model) in settings.models and model not in priced:
                text = f"`{model}` of tier `{tier}` has no price, and a ladder with unknown prices has no cheap side"
                yield error(join("routes", name), text, f"give [models.{model}] a price, or leave the tier out")


def _tier_problems(settings: Settings) -> Iterator[Problem]:
    for name, tier in settings.tiers.items():
        where = join("tiers", name)
        yield from _model_problems(settings, f"{where}.model", tier.model)
        if name in settings.models and tier.model != name:
            yield error(where, f"`{name}` is also a model, so a fallback to it could mean either", "rename the tier or the model")
        if tier.complexity is not None:
            try:
                parse_condition(tier.complexity)
            except ValueError:
                yield error(f"{where}.complexity", f"`{tier.complexity}` never holds", "compare with a number from 0 to 1, such as `> 0.7`")


def _route_problems(settings: Settings, where: str, name: str, route: Route) -> Iterator[Problem]:
    if name in settings.models:
        yield error(where, f"`{name}` is also a model, and a client's `model` must mean one thing", "rename the route or the model")
    if not route.tiers:
        yield error(f"{where}.tiers", "a route needs at least one tier", 'name one of [tiers], such as tiers = ["small"]')
    for index, tier in enumerate(route.tiers):
        if tier not in settings.tiers:
            yield error(f"{where}.tiers[{index}]", f"there is no tier `{tier}`", nearest(tier, settings.tiers, "add it to [tiers]"))
        elif tier in route.tiers[:index]:
            yield error(f"{where}.tiers[{index}]", f"`{tier}` stands there twice", "remove one of them")
    for index, target in enumerate(route.fallback):
        if target not in settings.tiers and target not in settings.models:
            hint = nearest(target, [*settings.tiers, *settings.models], "add it to [tiers] or [models]")
            yield error(f"{where}.fallback[{index}]", f"there is no tier or model `{target}`", hint)
    yield from _choice_problems(settings, where, route)
    yield from _strategy_problems(settings, f"{where}.tiers", route, route.strategy, route.tiers)
    yield from _named_problems(settings, where, route)
    yield from _evidence_problems(settings, where, route)
    for sla, of_class in route.sla.items():
        place = join(f"{where}.sla", sla)
        yield from _class_problems(settings, place, sla)
        yield from _budget_problems(f"{place}.error_budget", route, of_class.error_budget)
        if of_class.strategy is not None:
            yield from _strategy_problems(settings, f"{place}.strategy", route, of_class.strategy, route.tiers)
    for preset, given in route.presets.items():
        yield from _preset_problems(settings, join(f"{where}.presets", preset), route, given)


def _choice_problems(settings: Settings, where: str, route: Route) -> Iterator[Problem]:
    prices = [_priced_at(settings, tier) for tier in route.tiers]
    if route.strategy in JUDGED and prices and prices[0] is not None and prices[-1] is not None and prices[-1] < prices[0]:
        text = f"`{route.tiers[-1]}` is last, so the others are measured against it, though it is priced below `{route.tiers[0]}`"
        yield warning(f"{where}.tiers", text, "list tiers cheap to dear")
    if route.strategy == "fixed" and len(route.tiers) > 1 and route.error_budget is None and not (route.presets or route.sla):
        yield warning(f"{where}.tiers", "a fixed route uses its first tier only", "move the others to `fallback`, or drop them")
    if route.strategy != "by_complexity":
        if route.classifier is not None:
            yield warning(f"{where}.classifier", f"`{route.strategy}` asks no classifier", 'drop it, or use strategy = "by_complexity"')
        return
    tiers = [settings.tiers[name] for name in route.tiers if name in settings.tiers]
    if not tiers or any(tier.complexity is None for tier in tiers):
        return
    try:
        conditions = [parse_condition(tier.complexity or "") for tier in tiers]
    except ValueError:
        return
    gap = _gap(conditions)
    if gap is not None:
        text = f"no tier takes a complexity of {gap:g}; the last one will"
        yield warning(f"{where}.tiers", text, "drop `complexity` from the tier that takes the rest, or move a bound")


def _gap(conditions: list[Condition]) -> float | None:
    """A score in [0, 1] for which no condition holds, else None. Only bounds and the middles between them can differ."""
    bounds = sorted({0.0, 1.0, *(condition.bound for condition in conditions)})
    middles = [(low + high) / 2 for low, high in pairwise(bounds)]
    scores = sorted(bounds + middles)
    return next((score for score in scores if not any(condition.holds(score) for condition in conditions)), None)


def _strategy_problems(settings: Settings, where: str, route: Route, strategy: str, tiers: Sequence[str]) -> Iterator[Problem]:
    """Whether a strategy has the tiers that it needs."""
    if strategy not in JUDGED or not tiers:
        return
    if strategy == "gate" and len(tiers) < 3:
        hint = 'name three of [tiers], cheap to dear, or use strategy = "cascade"'
        yield error(where, "a gate compares two cheap tiers and asks a third where they differ", hint)
    elif len(tiers) < 2:
        hint = 'name a cheaper one before it, or use strategy = "fixed"'
        yield error(where, f"`{strategy}` has nothing to choose from with one tier", hint)
    if strategy == "learned" and route.error_budget is None:
        hint = 'write error_budget = 0.03 on the route, or use strategy = "cascade"'
        yield error(f"{where.rpartition('.')[0]}.strategy", "`learned` needs an `error_budget` of its route to keep", hint)
    models = [settings.tiers[tier].model for tier in tiers if tier in settings.tiers]
    if len(set(models)) < len(models):
        yield warning(where, "two tiers are the same model, so nothing is gained by asking both", "give each tier a model of its own")
    elif strategy == "gate" and len(models) >= 3 and (family := _family(settings, models[0])) == _family(settings, models[1]):
        hint = "put models of different makers first"
        yield warning(where, f"both cheap tiers are of the family `{family}`, and one family makes the same mistakes", hint)


def _family(settings: Settings, model: str) -> str:
    """The letters that a model's name begins with, below the name of its maker: `llama` of `meta/Llama-3.1-8B`."""
    given = settings.models.get(model)
    name = (given.name if given is not None and given.name else model).rpartition("/")[2].lower()
    return name[: next((at for at, letter in enumerate(name) if not letter.isalpha()), len(name))] or name


def _named_problems(settings: Settings, where: str, route: Route) -> Iterator[Problem]:
    """What a route names beside its tiers."""
    for index, check in enumerate(route.checks):
        if check not in settings.checks:
            hint = nearest(check, settings.checks, f"add a table [checks.{check}]")
            yield error(f"{where}.checks[{index}]", f"there is no check `{check}`", hint)
    for key, model in (("judge", route.judge), ("classifier", route.classifier)):
        if model is not None:
            yield from _model_problems(settings, f"{where}.{key}", model)
    if route.follow_budget is not None:
        names = [budget.name for budget in settings.budgets]
        if route.follow_budget not in names:
            hint = nearest(route.follow_budget, names, "add it to [[budgets]]")
            yield error(f"{where}.follow_budget", f"there is no budget `{route.follow_budget}`", hint)
        elif route.cost_weight is None and not any(each.cost_weight for each in route.sla.values()):
            yield warning(f"{where}.follow_budget", "nothing can grow with it: the cheapest is taken anyway", "set `cost_weight`")
    for index, tag in enumerate(route.by if route.error_budget is not None else ()):
        yield from key_problems(settings, f"{where}.by[{index}]", tag) if tag not in LOOKS else ()
    if route.sticky is not None and route.sticky <= 0:
        yield error(f"{where}.sticky", "nothing stays for no time", 'write a time such as "10m", or drop it')


def _evidence_problems(settings: Settings, where: str, route: Route) -> Iterator[Problem]:
    if route.error_budget is not None and route.shadow == 0:
        yield warning(f"{where}.shadow", "without shadows nothing is measured, so nothing cheap is opened", "write shadow = 0.02")
    if route.shadow_budget is None:
        return
    try:
        limit = parse_limit(route.shadow_budget)
    except UnitError as problem:
        yield unit_error(f"{where}.shadow_budget", problem)
        return
    if limit.unit != "USD":
        yield error(f"{where}.shadow_budget", "shadows are counted in money", "write it like `5 USD / day`")


def _class_problems(settings: Settings, where: str, sla: str) -> Iterator[Problem]:
    allowed = settings.tags.allowed.get("sla")
    if allowed is not None and sla not in allowed:
        yield error(where, f"no request can have the sla `{sla}`", nearest(sla, allowed, "add it to [tags] allowed"))


def _budget_problems(where: str, route: Route, error_budget: float | None) -> Iterator[Problem]:
    """Whether an error budget beside the route's own can be kept, and does anything."""
    if error_budget is None:
        return
    if route.error_budget is None:
        text = "the route has no `error_budget`, so nothing is measured, and such requests always go to its last tier"
        yield warning(where, text, "give the route one, too")
    elif error_budget > route.error_budget:
        text = f"more than the route's {route.error_budget:g}, which is what is proven: no more is opened"
        yield warning(where, text, "lower it, or raise the route's")


def _preset_problems(settings: Settings, where: str, route: Route, preset: Preset) -> Iterator[Problem]:
    """A preset can be more careful than its route, or cost more; never less careful."""
    for index, tier in enumerate(preset.tiers):
        if tier not in route.tiers:
            yield error(f"{where}.tiers[{index}]", f"`{tier}` is no tier of the route", nearest(tier, route.tiers, "name one of its tiers"))
    if preset.tiers and route.tiers and route.tiers[-1] not in preset.tiers:
        text = f"without `{route.tiers[-1]}`, the route's last tier, its answers would be worse than the route's"
        yield error(f"{where}.tiers", text, f"add `{route.tiers[-1]}`")
    chosen = [tier for tier in route.tiers if tier in preset.tiers] if preset.tiers else list(route.tiers)
    if preset.strategy == "fixed" and route.strategy != "fixed" and chosen[:1] != list(route.tiers[-1:]):
        text = f"it would always take `{(chosen or [''])[0]}`, which is less careful than the route"
        yield error(f"{where}.strategy", text, f'add tiers = ["{(route.tiers or ("...",))[-1]}"]')
    elif preset.strategy == "by_complexity" and route.strategy in JUDGED and len(chosen) > 1:
        text = f"it goes by what a request looks like and judges no answer, which is less careful than `{route.strategy}`"
        yield error(f"{where}.strategy", text, "drop it, or lower the preset's `error_budget` instead")
    elif preset.strategy is not None:
        yield from _strategy_problems(settings, f"{where}.strategy", route, preset.strategy, chosen)
    if preset.error_budget is not None and route.error_budget is not None and preset.error_budget > route.error_budget:
        yield warning(f"{where}.error_budget", f"more than the route's {route.error_budget:g}: it changes nothing", "lower it")
    elif preset.error_budget is not None:
        yield from _budget_problems(f"{where}.error_budget", route, preset.error_budget)
    if preset.confidence is not None and preset.confidence < route.confidence:
        yield warning(f"{where}.confidence", f"less than the route's {route.confidence:g}: it changes nothing", "raise it")


def _check_problems(settings: Settings, where: str, check: Check) -> Iterator[Problem]:
    needed, taken = _NEEDS.get(check.kind), _TAKES.get(check.kind)
    if needed is not None and not getattr(check, needed):
        yield error(f"{where}.{needed}", f"a check of kind `{check.kind}` needs `{needed}`", f"write {_EXAMPLES[needed]}")
    for key in ("pattern", "schema", "callable", "url", "model"):
        if key != taken and getattr(check, key) is not None:
            yield warning(f"{where}.{key}", f"a check of kind `{check.kind}` does not look at `{key}`", "remove it")
    if check.schema is not None and (broken := _broken_schema(check.schema)) is not None:
        yield error(
            f"{where}.schema", f"not a JSON Schema: {broken}", "see https://json-schema.org; answers that it is for would never pass"
        )
    if check.kind == "regex" and check.pattern:
        try:
            re.compile(check.pattern)
        except re.error as problem:
            yield error(
                f"{where}.pattern", f"not a regular expression: {problem}", "write it in single quotes, so that `\\` stands for itself"
            )
    if check.kind == "python" and check.callable and not _CALLABLE.fullmatch(check.callable):
        yield error(f"{where}.callable", f"`{check.callable}` names no function", f"write {_EXAMPLES['callable']}")
    if check.kind == "http" and check.url and not re.match(r"https?://[^/\s]+", check.url):
        yield error(f"{where}.url", f"`{check.url}` is no address", f"write {_EXAMPLES['url']}")
    if check.kind == "verifier" and check.model:
        yield from _model_problems(settings, f"{where}.model", check.model)
    if check.timeout <= 0:
        yield error(f"{where}.timeout", "nothing is checked in no time", 'write a time above 0, such as "2s"')
    for tag in check.where:
        yield from key_problems(settings, join(f"{where}.where", tag), tag)


def _feature_problems(settings: Settings) -> Iterator[Problem]:
    allowed = settings.tags.allowed.get("feature")
    for name in settings.features:
        if allowed is not None and name not in allowed:
            hint = nearest(name, allowed, "add it to [tags] allowed")
            yield warning(join("features", name), f"no request can have the feature `{name}`", hint)


def _rule_problems(settings: Settings) -> Iterator[Problem]:
    for index, rule in enumerate(settings.rules):
        for place, upstream in enumerate(rule.only):
            if upstream not in settings.upstreams:
                hint = nearest(upstream, settings.upstreams, f"add a table [upstreams.{upstream}]")
                yield error(f"rules[{index}].only[{place}]", f"there is no upstream `{upstream}`", hint)
        if not rule.where:
            yield error(f"rules[{index}].where", "a rule needs the tags that it holds for", 'write where = { data = "restricted" }')
        if not rule.only:
            yield warning(f"rules[{index}].only", "no upstream may see these requests", "name upstreams, unless all are to be refused")


def _model_problems(settings: Settings, where: str, model: str) -> Iterator[Problem]:
    if model not in settings.models:
        yield error(where, f"there is no model `{model}`", nearest(model, settings.models, f"add a table [models.{model}]"))


def _broken_schema(schema: dict[str, Any]) -> str | None:
    """What is wrong with a JSON Schema, in words."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as problem:
        return str(problem.message)
    return None


def _priced_at(settings: Settings, tier: str) -> float | None:
    """USD of a million tokens in and out by the config's own price of a tier; None where it has none."""
    model = settings.models.get(settings.tiers[tier].model) if tier in settings.tiers else None
    if model is None or model.price is None or model.price.output is None:
        return None
    try:
        return float(model.price.input) + float(model.price.output)
    except ValueError:  # told where prices are checked
        return None
