"""Why it costs more: an anomaly's stretch against the usual, taken apart into drivers, and for each the dimension that moved.

Drivers: more requests, larger requests, fewer replays from Penstock's cache, a dearer mix of models, a new price, less held by the
providers' prompt caches, another composition of the tokens, and money lost to failures. Failures are taken off first; the rest is a
product of factors, so that each driver's part is its share of the logarithm (the log-mean Divisia index) and the parts add up exactly.

Which value of a dimension did it is told as in Adtributor: values that explain much of the change (explanatory power), few of them
(succinctness), in the dimension whose shares moved most (surprise, the Jensen-Shannon divergence between before and now).
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log
from typing import Final, Literal, NamedTuple

import msgspec

Driver = Literal["requests", "request_size", "replays", "model_mix", "price", "prompt_cache", "token_kinds", "failures", "shift"]
LEAST_PART: Final = 0.1
"""of the excess: what explains less is not told"""
ENOUGH: Final = 0.67
"""of the change, which the values of one dimension explain together"""
MOST_VALUES: Final = 3
LEAST_SURPRISE: Final = 0.02
LEAST_MOVE: Final = 0.03
"""by which the share of the prompt cache has to fall to be a driver"""
CALLERS: Final = ("user", "key_id")
DIMENSIONS: Final = (*CALLERS, "upstream", "route", "endpoint", "processing", "model")
"""where more or larger requests may come from; who sends them is told first"""
_TOLD_BY: Final[Mapping[str, tuple[Driver, ...]]] = {
    "requests": ("requests",), "tokens_per_request": ("request_size", "replays"), "error_cost": ("failures",),
    "cp1kt": ("model_mix", "price", "prompt_cache", "token_kinds"), "cache_rate": ("prompt_cache", "replays"),
}  # fmt: skip
"""metric -> the drivers that it is evidence of; spend is of none"""
_NAMED: Final[Mapping[Driver, str]] = {
    "replays": "cache", "model_mix": "model", "price": "price_version", "prompt_cache": "cache", "failures": "outcome",
}  # fmt: skip
"""driver -> the dimension that it is by what it is"""


class Tally(NamedTuple):
    """Sums of a group. Additive; money in nano-USD."""

    requests: int = 0
    cost: int = 0
    tokens: int = 0
    """processed by models"""
    served: int = 0
    """processed or replayed"""
    asked: int = 0
    """input that models processed"""
    held: int = 0
    """the part of it that a provider's prompt cache held"""
    lost: int = 0
    """the part of `cost` for what failed"""


class Slice(NamedTuple):
    """One group of requests: its values by dimension, and its sums. Without `outcome` it is taken as answered."""

    keys: Mapping[str, str | None]
    tally: Tally


class Cause(msgspec.Struct, frozen=True):
    """One thing that moved. `amount` is what its driver adds to the cost, nano-USD; for `shift` what the value does beyond its usual."""

    driver: Driver
    dimension: str
    value: str | None
    amount: int
    part: float
    """of all that is beyond the usual"""
    before: float | None = None
    """the value's share of the cost, usually"""
    now: float | None = None


class _Move(NamedTuple):
    dimension: str
    value: str | None
    power: float
    surprise: float
    before: float
    now: float


def causes(
    before: Sequence[Slice],
    now: Sequence[Slice],
    expected: int,
    feature: str | None,
    metrics: Sequence[str] = (),
    callers: tuple[Sequence[Slice], Sequence[Slice]] = ((), ()),
) -> tuple[Cause, ...]:
    """What explains the excess of `now` over `expected` nano-USD, strongest first; `before` is usual use, over any length of time.

    Drivers that one of the `metrics` which strayed is evidence of come before those that chance may have moved. `callers` are the same
    requests, or some of them, before and now, by dimensions that the others were not grouped by.
    """
    evident = {driver for metric in metrics for driver in _TOLD_BY.get(metric, ())}
    parts = drivers(before, now, expected)
    excess = max(sum(parts.values()), 1)
    moves = _moves((*before, *callers[0]), (*now, *callers[1]), expected, expected + sum(parts.values()))
    told = [
        _cause(driver, amount, amount / excess, before, now, moves, feature)
        for driver, amount in sorted(parts.items(), key=lambda item: (item[0] not in evident, -item[1]))
        if amount >= LEAST_PART * excess and amount > 0
    ]
    named = {cause.dimension for cause in told}
    more = [
        Cause("shift", move.dimension, move.value, round(move.power * excess), move.power, move.before, move.now)
        for move in moves
        if move.dimension not in named
    ]
    return (*told, *more)


def drivers(before: Sequence[Slice], now: Sequence[Slice], expected: int) -> dict[Driver, int]:
    """Driver -> nano-USD; they add up to the cost of `now` less `expected`."""
    usual, here = _sum(each.tally for each in before), _sum(each.tally for each in now)
    change = here.cost - expected
    scale = expected / usual.cost if usual.cost else 0.0
    failures = here.lost - round(usual.lost * scale)
    old, new = _answered(before), _answered(now)
    first, last = _sum(old.values()), _sum(new.values())
    start, end = max(expected - usual.lost * scale, 0.0), float(here.cost - here.lost)
    parts: dict[Driver, float] = {"failures": failures}
    if start <= 0 or end <= 0 or not all((*first[:4], *last[:4])):
        parts["requests"] = change - failures
    else:
        mean = start if abs(end - start) < 1e-9 * start else (end - start) / log(end / start)
        factors = _factors(old, new, start / (first.cost / first.requests) if first.cost else 0.0)
        parts |= {driver: mean * log(factor) for driver, factor in factors.items() if factor > 0}
        unit = parts.pop("price")
        parts |= _unit_parts(before, now, old, new, unit)
    return _whole(parts, change)


def _factors(old: Mapping[str | None, Tally], new: Mapping[str | None, Tally], requests: float) -> dict[Driver, float]:
    """By how much each factor of the cost of what was answered has grown."""
    first, last = _sum(old.values()), _sum(new.values())
    price = {model: tally.cost / tally.tokens for model, tally in new.items() if tally.tokens}
    price |= {model: tally.cost / tally.tokens for model, tally in old.items() if tally.tokens}
    mixed = sum(tally.tokens * price.get(model, 0.0) for model, tally in new.items()) / last.tokens
    was, become = first.cost / first.tokens, last.cost / last.tokens
    return {
        "requests": last.requests / requests if requests else 1.0,
        "request_size": (last.served / last.requests) / (first.served / first.requests),
        "replays": (last.tokens / last.served) / (first.tokens / first.served),
        "model_mix": mixed / was if was and mixed else 1.0,
        "price": become / mixed if mixed and become else 1.0,
    }


def _unit_parts(
    before: Sequence[Slice], now: Sequence[Slice], old: Mapping[str | None, Tally], new: Mapping[str | None, Tally], amount: float
) -> dict[Driver, float]:
    """What models cost more per token: because of a new price, of less from prompt caches, or of other tokens."""
    known = {(each.keys.get("model"), each.keys.get("price_version")) for each in before if each.tally.tokens}
    fresh: dict[str | None, int] = {}
    for each in now:
        if (each.keys.get("model"), each.keys.get("price_version")) not in known:
            model = each.keys.get("model")
            fresh[model] = fresh.get(model, 0) + each.tally.tokens
    weights: dict[Driver, float] = {"price": 0.0, "prompt_cache": 0.0, "token_kinds": 0.0}
    for model, tally in new.items():
        usual = old.get(model)
        if usual is None or not (usual.tokens and tally.tokens):
            continue
        moved = abs(tally.cost - usual.cost / usual.tokens * tally.tokens)
        repriced = min(fresh.get(model, 0) / tally.tokens, 1.0)
        fallen = usual.asked and tally.asked and usual.held / usual.asked - tally.held / tally.asked > LEAST_MOVE
        weights["price"] += moved * repriced
        weights["prompt_cache" if fallen else "token_kinds"] += moved * (1 - repriced)
    whole = sum(weights.values())
    return {driver: amount * weight / whole for driver, weight in weights.items()} if whole else {"token_kinds": amount}


def _cause(
    driver: Driver, amount: int, part: float, before: Sequence[Slice], now: Sequence[Slice], moves: Sequence[_Move], feature: str | None
) -> Cause:
    if (dimension := _NAMED.get(driver)) is not None:
        value, was, become = _grown(dimension, driver, before, now)
        return Cause(driver, dimension, value, amount, part, was, become)
    if moves and driver in ("requests", "request_size", "token_kinds"):
        first = moves[0]
        return Cause(driver, first.dimension, first.value, amount, part, first.before, first.now)
    return Cause(driver, "feature", feature, amount, part)


def _grown(dimension: str, driver: Driver, before: Sequence[Slice], now: Sequence[Slice]) -> tuple[str | None, float | None, float | None]:
    """The value of a dimension whose share of the cost grew most, and that share before and now; of a cache the share that it held."""
    if dimension == "cache":
        usual, here = _sum(each.tally for each in before), _sum(each.tally for each in now)
        if driver == "replays":
            return "replays", _share(usual.served - usual.tokens, usual.served), _share(here.served - here.tokens, here.served)
        return "prompt cache", _share(usual.held, usual.asked), _share(here.held, here.asked)
    if dimension == "outcome":
        now = [each for each in now if each.keys.get("outcome") != "ok"] or now
        outcomes = _by(now, dimension)
        return max(outcomes, key=lambda value: outcomes[value], default=None), None, None
    shares = {value: (was, become) for value, was, become in _shares(before, now, dimension)}
    value = max(shares, key=lambda each: shares[each][1] - shares[each][0], default=None)
    return (value, *shares[value]) if value in shares else (None, None, None)


def _moves(before: Sequence[Slice], now: Sequence[Slice], expected: int, here: int) -> list[_Move]:
    """The value that explains most of the change in each dimension whose shares have moved, the most surprising dimension first."""
    change = here - expected
    found: list[tuple[float, _Move]] = []
    for dimension in DIMENSIONS:
        if change <= 0 or not any(dimension in each.keys for each in now):
            continue
        moved = []
        for value, was, become in _shares(before, now, dimension):
            power = (become * here - was * expected) / change
            if power >= LEAST_PART:
                moved.append(_Move(dimension, value, power, _surprise(was, become), was, become))
        moved.sort(key=lambda move: -move.power)
        few: list[_Move] = []
        while moved and sum(move.power for move in few) < ENOUGH and len(few) < MOST_VALUES:
            few.append(moved.pop(0))
        surprise = sum(move.surprise for move in few)
        if few and sum(move.power for move in few) >= ENOUGH and surprise >= LEAST_SURPRISE and few[0].value is not None:
            found.append((surprise / len(few), few[0]))
    return [move for _, move in sorted(found, key=lambda pair: (pair[1].dimension not in CALLERS, -pair[0]))]


def _shares(before: Sequence[Slice], now: Sequence[Slice], dimension: str) -> list[tuple[str | None, float, float]]:
    """(value, share of the cost before, and now)."""
    old, new = _by(before, dimension), _by(now, dimension)
    was, become = sum(old.values()) or 1, sum(new.values()) or 1
    return [(value, old.get(value, 0) / was, new.get(value, 0) / become) for value in dict.fromkeys([*new, *old])]


def _by(slices: Sequence[Slice], dimension: str) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for each in slices:
        if dimension in each.keys:
            found[each.keys[dimension]] = found.get(each.keys[dimension], 0) + each.tally.cost
    return found


def _surprise(was: float, become: float) -> float:
    """A value's part of the Jensen-Shannon divergence."""
    middle = (was + become) / 2
    return 0.5 * sum(share * log(share / middle) for share in (was, become) if share > 0)


def _answered(slices: Sequence[Slice]) -> dict[str | None, Tally]:
    """By model, without what failed."""
    found: dict[str | None, list[Tally]] = {}
    for each in slices:
        if each.keys.get("outcome", "ok") == "ok" and "model" in each.keys:
            found.setdefault(each.keys["model"], []).append(each.tally._replace(cost=each.tally.cost - each.tally.lost, lost=0))
    return {model: _sum(tallies) for model, tallies in found.items()}


def _sum(tallies: Iterable[Tally]) -> Tally:
    return Tally(*map(sum, zip(Tally(), *tallies, strict=True)))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _whole(parts: Mapping[Driver, float], change: int) -> dict[Driver, int]:
    """Whole nano-USD that add up to the change; what rounding leaves goes to the largest."""
    rounded = {driver: round(amount) for driver, amount in parts.items()}
    largest = max(rounded, key=lambda driver: abs(rounded[driver]))
    rounded[largest] += change - sum(rounded.values())
    return rounded
