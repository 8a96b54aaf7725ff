"""What a request asks of its route, by its sla and its headers. A header can only make a route more careful, never less."""

from difflib import get_close_matches

import msgspec

from penstock.config.routing import Preset, Route, RouteSla, Strategy
from penstock.domain.units import Duration, UnitError
from penstock.gateway.exchange import Exchange
from penstock.gateway.heads import share_of
from penstock.gateway.refusal import Refusal
from penstock.gateway.targets import LONGEST_NAME

_NO_PRESET = Preset()
_NO_CLASS = RouteSla()


class Wishes(msgspec.Struct, frozen=True):
    """The route as it is for one request."""

    strategy: Strategy
    tiers: tuple[str, ...]
    """to choose from, cheap to dear"""
    error_budget: float | None
    """None: the route promises nothing, and nobody asks for more"""
    stricter: bool
    """the request accepts less loss than its route promises"""
    confidence: float
    preset: str | None
    latency_s: float | None
    """how long the answer may take; None: that is not said"""


def keeps_evidence(route: Route) -> bool:
    """Whether it is measured what cheap tiers of a route lose."""
    return route.error_budget is not None or route.strategy == "learned"


def wishes_of(x: Exchange, route: Route) -> Wishes:
    """Raises `Refusal` (input) for headers that say nothing, and for presets that the route does not have."""
    preset = _preset(x, route)
    of_class = _NO_CLASS if x.sla is None else route.sla.get(x.sla, _NO_CLASS)
    promised = route.error_budget if of_class.error_budget is None else of_class.error_budget
    budgets = [each for each in (promised, preset.error_budget, _asked_budget(x)) if each is not None]
    accepted = min(budgets, default=None)
    return Wishes(
        strategy=preset.strategy or of_class.strategy or route.strategy,
        tiers=tuple(tier for tier in route.tiers if tier in preset.tiers) if preset.tiers else route.tiers,
        error_budget=accepted,
        stricter=accepted is not None and (route.error_budget is None or accepted < route.error_budget),
        confidence=max(route.confidence, preset.confidence or 0.0),
        preset=x.heads.preset or None,
        latency_s=_asked_latency(x),
    )


def no_preset(x: Exchange, known: tuple[str, ...]) -> Refusal:
    """The refusal of a preset that what is asked for does not have."""
    asked = x.heads.preset[:LONGEST_NAME]
    near = get_close_matches(asked, known, 3, 0.4) or known
    hint = f"Did you mean {', '.join(f'`{name}`' for name in near)}?" if near else "It has none: leave the header out"
    return Refusal(400, "input", f"`{x.asked_for}` has no preset `{asked}`", hint, code="preset_not_found")


def _preset(x: Exchange, route: Route) -> Preset:
    if not x.heads.preset:
        return _NO_PRESET
    if x.heads.preset not in route.presets:
        raise no_preset(x, tuple(route.presets))
    return route.presets[x.heads.preset]


def _asked_budget(x: Exchange) -> float | None:
    if not x.heads.error_budget:
        return None
    share = share_of(x.heads.error_budget)
    if share is None:
        asked = x.heads.error_budget.decode("latin-1")[:40]
        hint = "Send the mean loss of quality that is accepted, between 0 and 1, such as `0.01`"
        raise Refusal(400, "input", f"`penstock-error-budget: {asked}` is no share", hint)
    return share


def _asked_latency(x: Exchange) -> float | None:
    if not x.heads.max_latency:
        return None
    asked = x.heads.max_latency.decode("latin-1")
    try:
        latency_s = float(Duration.parse(asked))
    except UnitError:
        latency_s = 0.0
    if latency_s <= 0:
        hint = "Send a time with its unit, such as `800ms` or `2s`"
        raise Refusal(400, "input", f"`penstock-max-latency: {asked[:40]}` is no time", hint)
    return latency_s
