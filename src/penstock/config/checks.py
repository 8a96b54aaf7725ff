"""What settings mean together: names that must exist, values that must parse. Pure."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from penstock.config import checks_money, checks_server, checks_spending, checks_telemetry, checks_upstreams
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.secrets import missing_secrets
from penstock.config.settings import Route, Settings
from penstock.domain.routing.tiers import Condition, parse_condition

BUILT_STRATEGIES = ("fixed", "by_complexity")


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong or doubtful; errors first. `serve` does not start on errors."""
    found = [
        *checks_server.problems(settings),
        *checks_upstreams.problems(settings),
        *_model_problems(settings),
        *_tier_problems(settings),
        *_route_problems(settings),
        *_rule_problems(settings),
        *checks_money.problems(settings),
        *checks_spending.problems(settings),
        *checks_telemetry.problems(settings),
    ]
    return sorted(found, key=lambda problem: problem.severity != "error")


def serve_obstacles(settings: Settings, environ: Mapping[str, str]) -> list[Problem]:
    """Why `serve` must not start: errors, and secrets that are not set. Empty: nothing."""
    errors = [problem for problem in problems(settings) if problem.severity == "error"]
    return errors + missing_secrets(settings, environ)


def _model_problems(settings: Settings) -> Iterator[Problem]:
    if not settings.models:
        yield warning("models", "no models: every request will be answered 404", "add a table [models.<name>]")
    for name, model in settings.models.items():
        where = join("models", name)
        if model.upstream not in settings.upstreams:
            hint = nearest(model.upstream, settings.upstreams, f"add a table [upstreams.{model.upstream}]")
            yield error(f"{where}.upstream", f"there is no upstream `{model.upstream}`", hint)
        if model.price is not None:
            yield from checks_money.token_price_problems(f"{where}.price", model.price)
        if model.context and model.max_output and model.max_output > model.context:
            yield warning(f"{where}.max_output", "more than the whole `context`", "lower it; the two share the context window")


def _tier_problems(settings: Settings) -> Iterator[Problem]:
    for name, tier in settings.tiers.items():
        where = join("tiers", name)
        if tier.model not in settings.models:
            hint = nearest(tier.model, settings.models, f"add a table [models.{tier.model}]")
            yield error(f"{where}.model", f"there is no model `{tier.model}`", hint)
        if name in settings.models and tier.model != name:
            yield error(where, f"`{name}` is also a model, so a fallback to it could mean either", "rename the tier or the model")
        if tier.complexity is not None:
            try:
                parse_condition(tier.complexity)
            except ValueError:
                yield error(f"{where}.complexity", f"`{tier.complexity}` never holds", "compare with a number from 0 to 1, such as `> 0.7`")


def _route_problems(settings: Settings) -> Iterator[Problem]:
    for name, route in settings.routes.items():
        where = join("routes", name)
        if name in settings.models:
            yield error(where, f"`{name}` is also a model, and a client's `model` must mean one thing", "rename the route or the model")
        if route.strategy not in BUILT_STRATEGIES:
            yield error(f"{where}.strategy", f"`{route.strategy}` is not built yet", 'use "fixed" or "by_complexity"')
        if not route.tiers:
            yield error(f"{where}.tiers", "a route needs at least one tier", 'name one of [tiers], such as tiers = ["small"]')
        for index, tier in enumerate(route.tiers):
            if tier not in settings.tiers:
                yield error(f"{where}.tiers[{index}]", f"there is no tier `{tier}`", nearest(tier, settings.tiers, "add it to [tiers]"))
        for index, target in enumerate(route.fallback):
            if target not in settings.tiers and target not in settings.models:
                hint = nearest(target, [*settings.tiers, *settings.models], "add it to [tiers] or [models]")
                yield error(f"{where}.fallback[{index}]", f"there is no tier or model `{target}`", hint)
        yield from _choice_problems(settings, where, route)


def _choice_problems(settings: Settings, where: str, route: Route) -> Iterator[Problem]:
    if route.strategy == "fixed" and len(route.tiers) > 1:
        yield warning(f"{where}.tiers", "a fixed route uses its first tier only", "move the others to `fallback`, or drop them")
    if route.strategy != "by_complexity":
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
