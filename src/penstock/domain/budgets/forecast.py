"""What is yet to be spent, from hourly sums: several simple laws, weighed by how well each would have done lately, and a band of what was
missed then.

Works from the first whole hour on: a level that returns to the mean, from the second day on the shape of the day, with a trend that is
damped, and from the second week on the shape of the week. Hours far above what their hour of the day can be count as a high hour, not as
what they were, so that one runaway does not make the month. The band holds the end in 80 of 100 cases: quantiles of the errors of the
same forecast, made again at many past instants, widened while there are few of these. The same hours always give the same forecast.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from math import exp, log
from statistics import median

import msgspec

DAY, WEEK = 24, 168
HISTORY = 6 * WEEK
"""hours that are looked at"""
BAND = (0.1, 0.9)
_MEMORY, _FADE = 0.93, 2.0
"""share of a momentary surplus that is left after an hour; days until a day counts half"""
_USUAL, _FAR_ABOVE = 0.75, 1.5
"""share of hours that stay below what may always be; how many times what can be an hour counts at most"""
_ORIGINS, _LONGEST = 32, WEEK
_SPANS = (6, DAY, 3 * DAY)
"""hours over which laws are weighed"""
_STEPS = (1, 2, 3, 6, 12, DAY, 2 * DAY, 3 * DAY, 5 * DAY, WEEK)
"""hours after which errors are kept"""
_PRIOR_DAY_ONE, _PRIOR, _PRIOR_LEAST, _PRIOR_WEIGHT = 0.5, 0.25, 0.02, 1.5
"""log error that is assumed while a band knows none: on day one, later, and of what hardly varies; and how many independent errors that
is worth"""
_FLATTERY = 1.3
"""weights are chosen by the same errors that make the band, which so looks better than it is"""
Law = Callable[[Sequence[float], int, int], list[float] | None]


class Forecast(msgspec.Struct, frozen=True):
    """Hours from the end of the history on; `low` and `high` bound the sum from there through each hour."""

    hours: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    weights: tuple[tuple[str, float], ...]
    """of each law, at the far end"""


def forecast(hours: Sequence[float], horizon: int) -> Forecast | None:
    """The next `horizon` hours after `hours`, whole hours without gaps, oldest first; None without any history."""
    return _forecast(tuple(hours[-HISTORY:]), horizon)


@lru_cache(maxsize=4096)
def _forecast(hours: tuple[float, ...], horizon: int) -> Forecast | None:
    first = next((index for index, value in enumerate(hours) if value > 0), len(hours))
    if not hours or horizon <= 0:
        return None
    told = hours[first:]
    if not told:
        return Forecast((0.0,) * horizon, (0.0,) * horizon, (0.0,) * horizon, ())
    known = _without_outliers(told)
    laws = {name: path for name, law in LAWS.items() if (path := law(known, len(known), horizon)) is not None}
    past = _past(known, laws)
    near, far = _weights(known, laws, past, _SPANS[:1]), _weights(known, laws, past, _SPANS[1:])
    path = _surging(_mixed(laws, near, far, horizon), told, known, len(told))
    errors = _errors(told, known, past, near, far)
    low, high = _band(path, errors, len(told))
    return Forecast(tuple(path), low, high, tuple(far.items()))


def _level(hours: Sequence[float], end: int) -> float:
    """Mean of an hour over the last days, newer ones weighing more; of all hours within the first day."""
    if end < DAY:
        return sum(hours[:end]) / end
    total = weights = 0.0
    for day in range(min(end // DAY, 14)):
        weight = 0.5 ** (day / _FADE)
        total += weight * sum(hours[end - (day + 1) * DAY : end - day * DAY])
        weights += weight * DAY
    return total / weights


def _persistent(hours: Sequence[float], end: int, horizon: int) -> list[float]:
    """The last hours, returning to the level."""
    level = _level(hours, end)
    surplus = sum(hours[max(0, end - 2) : end]) / min(2, end) - level
    return [max(0.0, level + surplus * _MEMORY ** (hour + 0.5)) for hour in range(horizon)]


def _yesterday(hours: Sequence[float], end: int, horizon: int) -> list[float] | None:
    """The same hour of the day before."""
    if end < DAY:
        return None
    return [hours[end - DAY + hour % DAY] for hour in range(horizon)]


def _daily(hours: Sequence[float], end: int, horizon: int) -> list[float] | None:
    """The shape of the day at the level of the last days."""
    return None if end < DAY + 6 else _shaped(hours, end, horizon, DAY, _level(hours, end))


def _trending(hours: Sequence[float], end: int, horizon: int) -> list[float] | None:
    """As `_daily`, and going on as the days went, less every day. The slope is the median of those between any two days."""
    if end < 4 * DAY:
        return None
    days = [sum(hours[end - (day + 1) * DAY : end - day * DAY]) for day in range(min(end // DAY, 14))]
    slope = median((days[j] - days[i]) / (i - j) for i in range(len(days)) for j in range(i))
    path = _shaped(hours, end, horizon, DAY, _level(hours, end))
    level, fade = sum(days) / len(days), 0.75
    if path is None or not level:
        return None
    growth = [fade * (1 - fade ** ((hour + 12) / DAY)) / (1 - fade) * slope / level for hour in range(horizon)]
    return [max(0.0, value * (1 + more)) for value, more in zip(path, growth, strict=True)]


def _weekly(hours: Sequence[float], end: int, horizon: int) -> list[float] | None:
    """The shape of the week at the level of the last one."""
    return None if end < WEEK + DAY else _shaped(hours, end, horizon, WEEK, sum(hours[end - WEEK : end]) / WEEK)


LAWS: Mapping[str, Law] = {
    "persistent": _persistent, "yesterday": _yesterday, "daily": _daily, "trending": _trending, "weekly": _weekly,
}  # fmt: skip


def _shaped(hours: Sequence[float], end: int, horizon: int, period: int, level: float) -> list[float] | None:
    """A level with the shape of the last periods; how far the last three hours were off it fades."""
    shape, weights = [0.0] * period, 0.0
    for back in range(1, min(end // period, 14) + 1):
        cycle = hours[end - back * period : end - (back - 1) * period]
        total = sum(cycle)
        if total > 0:
            weight = 0.5 ** ((back - 1) / 4)
            weights += weight
            shape = [sofar + weight * value * period / total for sofar, value in zip(shape, cycle, strict=True)]
    if not weights:
        return None
    path = [level * shape[hour % period] / weights for hour in range(horizon)]
    was = sum(hours[end - 3 : end])
    usual = level * sum(shape[-3:]) / weights
    off = min(3.0, max(1 / 3, (was + 0.1 * level) / (usual + 0.1 * level))) - 1
    return [value * (1 + off * _MEMORY ** (hour + 1)) for hour, value in enumerate(path)]


def _without_outliers(hours: tuple[float, ...]) -> list[float]:
    """Hours that are far above what the same hour of the day was on other days, cut to what is just above it.

    The third highest of four weeks is what it can be, so that a job of every night stays, and a day or two out of control do not.
    """
    if len(hours) < 2 * DAY:
        return list(hours)
    recent = hours[-4 * WEEK :]
    usual = sorted(recent)[int(_USUAL * (len(recent) - 1))]
    most = []
    for place in range(DAY):
        ranked = sorted(recent[place::DAY], reverse=True)
        most.append(_FAR_ABOVE * max(usual, ranked[min(2, (len(ranked) - 1) // 2)]))
    begin = len(hours) - len(recent)
    return [min(value, most[(index - begin) % DAY]) if most[(index - begin) % DAY] else value for index, value in enumerate(hours)]


Past = dict[int, dict[str, list[float]]]
"""instant -> what each law would have said then, as far as what came is known"""


def _past(hours: Sequence[float], laws: Mapping[str, object]) -> Past:
    end = len(hours)
    step = max(1, min(6, end // DAY))
    found: Past = {}
    for origin in range(end - step, max(2, end // 3) - 1, -step):
        if len(found) == _ORIGINS:
            break
        reach = min(end - origin, _LONGEST)
        found[origin] = {name: path for name in laws if (path := LAWS[name](hours, origin, reach)) is not None}
    return found


def _weights(hours: Sequence[float], laws: Mapping[str, object], past: Past, spans: Sequence[int]) -> dict[str, float]:
    """How much each law counts: the less, the more it was off over these spans. One that nobody could try yet counts as the worst."""
    scale = sum(hours[-WEEK:]) / min(len(hours), WEEK) or 1.0
    missed: dict[str, list[float]] = {name: [] for name in laws}
    for span in spans:
        off: dict[str, list[float]] = {name: [] for name in laws}
        for origin, paths in past.items():
            reach = min(span, len(hours) - origin)
            if reach < span and span != spans[0]:
                continue
            came = sum(hours[origin : origin + reach])
            for name, path in paths.items():
                off[name].append(abs(came - sum(path[:reach])) / (scale * reach))
        means = {name: sum(each) / len(each) for name, each in off.items() if each}
        for name in laws if means else ():
            missed[name].append(means.get(name, max(means.values())))
    scores = {name: 1 / (0.02 + sum(each) / len(each)) ** 3 if each else 1.0 for name, each in missed.items()}
    total = sum(scores.values())
    return {name: score / total for name, score in scores.items()}


def _mixed(paths: Mapping[str, Sequence[float]], near: Mapping[str, float], far: Mapping[str, float], horizon: int) -> list[float]:
    """The laws together: at first by their near weights, later by the far ones."""
    nearer, farther = sum(near[name] for name in paths), sum(far[name] for name in paths)
    mixed = [0.0] * horizon
    for name, path in paths.items():
        one, other = near[name] / nearer, far[name] / farther
        for hour in range(horizon):
            mixed[hour] += path[hour] * (other + (one - other) * 0.9**hour)
    return mixed


def _surging(path: Sequence[float], told: Sequence[float], known: Sequence[float], end: int) -> list[float]:
    """What was cut from the very last hours goes on for a while: it may be under way."""
    last = slice(max(0, end - 2), end)
    excess = (sum(told[last]) - sum(known[last])) / min(2, end)
    return [value + excess * _MEMORY ** (hour + 0.5) for hour, value in enumerate(path)] if excess else list(path)


def _errors(
    told: Sequence[float], known: Sequence[float], past: Past, near: Mapping[str, float], far: Mapping[str, float]
) -> dict[int, list[float]]:
    """Hours ahead -> log of what came over what was forecast, summed up until then, at each past instant."""
    found: dict[int, list[float]] = {}
    for origin, paths in past.items():
        reach = min(len(told) - origin, _LONGEST)
        said = list(accumulate(_surging(_mixed(paths, near, far, reach), told, known, origin)))
        came = list(accumulate(told[origin : origin + reach]))
        for step in _STEPS:
            if step <= reach and said[step - 1] > 0:
                found.setdefault(step, []).append(log(max(came[step - 1] / said[step - 1], 0.05)))
    return found


def _band(path: Sequence[float], errors: Mapping[int, Sequence[float]], known: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Low and high of the running sum. Between the steps at which errors are known they go evenly, beyond the last they widen."""
    prior = _PRIOR_DAY_ONE if known < 2 * DAY else min(_PRIOR, max(_PRIOR_LEAST, 8 * _usual(errors)))
    apart = max(1, min(6, known // DAY))
    steps = [step for step in _STEPS if step in errors] or [1]
    logs = [[_FLATTERY * each for each in _quantiles(errors.get(step, ()), step / apart, prior)] for step in steps]
    low, high, sofar = list[float](), list[float](), 0.0
    for hour, value in enumerate(path, 1):
        sofar += value
        down, up = _between(steps, logs, hour)
        low.append(max(low[-1] if low else 0.0, sofar * exp(down)))
        high.append(max(high[-1] if high else 0.0, sofar * exp(up)))
    return tuple(low), tuple(high)


def _usual(errors: Mapping[int, Sequence[float]]) -> float:
    """The error that half of all stay below, whatever the sign: what never varied is not taken to vary from now on."""
    return median([abs(each) for some in errors.values() for each in some] or [_PRIOR])


def _quantiles(errors: Sequence[float], overlap: float, prior: float) -> tuple[float, float]:
    """Low and high quantile, both on their side of 0. Errors that overlap count as fewer; the prior fills up what is missing."""
    if not errors:
        return -prior, prior
    weight = max(1.0, len(errors) / max(1.0, overlap))
    weight /= weight + _PRIOR_WEIGHT
    ranked = sorted(errors)
    low, high = (_quantile(ranked, share) for share in BAND)
    return weight * min(low, 0.0) - (1 - weight) * prior, weight * max(high, 0.0) + (1 - weight) * prior


def _quantile(ranked: Sequence[float], share: float) -> float:
    place = share * (len(ranked) - 1)
    whole = int(place)
    return ranked[whole] + (place - whole) * (ranked[min(whole + 1, len(ranked) - 1)] - ranked[whole])


def _between(steps: Sequence[int], logs: Sequence[Sequence[float]], hour: int) -> tuple[float, float]:
    place = bisect_left(steps, hour)
    if place == len(steps):
        widening = (hour / steps[-1]) ** 0.25
        return logs[-1][0] * widening, logs[-1][1] * widening
    if place == 0 or steps[place] == hour:
        return logs[place][0], logs[place][1]
    part = (hour - steps[place - 1]) / (steps[place] - steps[place - 1])
    one, other = logs[place - 1], logs[place]
    return one[0] + part * (other[0] - one[0]), one[1] + part * (other[1] - one[1])
