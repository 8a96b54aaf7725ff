"""How far a stretch of time strays from the usual, for each of the six metrics: a score in standard deviations, and dollars beyond it."""

from collections.abc import Iterator, Mapping
from math import log, sqrt
from typing import Final, NamedTuple

from penstock.domain.budgets.baseline import LEAP, METRICS, Cell, Spread, Usual

LEAST_RATIO: Final[Mapping[str, float]] = {
    "spend": 2.2, "requests": 2.2, "cp1kt": 1.12, "tokens_per_request": 1.3, "error_cost": 2.0,
}  # fmt: skip
"""what is less than this times the usual is no anomaly, however sure"""
LEAST_DROP: Final = 0.08
"""the same for the share of a cache, in points of that share"""
LEAST_REQUESTS: Final = 4
"""fewer tell nothing of a ratio"""
_NEW: Final = Spread(2.0, LEAP)


class Expected(NamedTuple):
    """What is expected of a stretch: requests, nano-USD, nano-USD lost."""

    requests: float = 0.0
    cost: float = 0.0
    lost: float = 0.0


class Deviation(NamedTuple):
    """One metric of one stretch that is well beyond the usual."""

    metric: str
    score: float
    """robust standard deviations"""
    excess: float
    """nano-USD beyond what the same stretch usually costs"""


def deviations(cell: Cell, expected: Expected, usual: Usual, spreads: Mapping[str, Spread], unit: float) -> Iterator[Deviation]:
    """The metrics of a stretch that are beyond their least ratio; `unit`: nano-USD of a usual request."""
    common = 0.0 if usual.rhythm else LEAP
    for metric, observed, mean, size, excess in (
        ("spend", cell.cost, expected.cost, unit, cell.cost - expected.cost),
        ("requests", cell.requests, expected.requests, 1.0, cell.cost - expected.cost),
        ("error_cost", cell.lost, expected.lost, unit, cell.lost - expected.lost),
    ):
        if observed > LEAST_RATIO[metric] * mean:
            spread = spreads.get(metric, _NEW)
            mean /= size
            score = 2 * (sqrt(observed / size) - sqrt(mean)) / sqrt(spread.own + max(spread.common, common) * mean)
            yield Deviation(metric, score, excess)
    if cell.requests >= LEAST_REQUESTS:
        yield from _ratios(cell, usual, spreads)


def _ratios(cell: Cell, usual: Usual, spreads: Mapping[str, Spread]) -> Iterator[Deviation]:
    if usual.per_token and cell.cost > LEAST_RATIO["cp1kt"] * usual.per_token * cell.tokens > 0:
        ratio = cell.cost / cell.tokens / usual.per_token
        yield Deviation("cp1kt", log(ratio) / _sigma(spreads, "cp1kt", cell), cell.cost * (1 - 1 / ratio))
    if usual.size and cell.served > LEAST_RATIO["tokens_per_request"] * usual.size * cell.requests:
        ratio = cell.served / cell.requests / usual.size
        score = log(ratio) / _sigma(spreads, "tokens_per_request", cell)
        yield Deviation("tokens_per_request", score, cell.cost * (1 - 1 / ratio))
    if usual.held and usual.per_served is not None and cell.asked and usual.held - cell.held / cell.asked > LEAST_DROP:
        drop = (usual.held - cell.held / cell.asked) / sqrt(usual.held * max(1 - usual.held, 0.02))
        yield Deviation("cache_rate", drop / _sigma(spreads, "cache_rate", cell), cell.cost - usual.per_served * cell.served)


def _sigma(spreads: Mapping[str, Spread], metric: str, cell: Cell) -> float:
    spread = spreads.get(metric, Spread(2.0, 0.04))
    return sqrt(spread.own / cell.requests + spread.common)


def values(metric: str, cell: Cell, expected: Expected, usual: Usual) -> tuple[float | None, float | None, float]:
    """What a metric was over a stretch, what it usually is, and the nano-USD beyond that; in nano-USD, requests, nano-USD per 1,000
    tokens, tokens, a share, and nano-USD."""
    assert metric in METRICS
    match metric:
        case "spend":
            return cell.cost, expected.cost, cell.cost - expected.cost
        case "requests":
            return cell.requests, expected.requests, cell.cost - expected.cost
        case "error_cost":
            return cell.lost, expected.lost, cell.lost - expected.lost
        case "cp1kt":
            before = None if usual.per_token is None else usual.per_token * 1000
            return _share(cell.cost * 1000, cell.tokens), before, cell.cost - (usual.per_token or 0.0) * cell.tokens
        case "tokens_per_request":
            size = _share(cell.served, cell.requests)
            return size, usual.size, cell.cost * (1 - (usual.size or 0.0) / size) if size else 0.0
        case _:
            return _share(cell.held, cell.asked), usual.held, cell.cost - (usual.per_served or 0.0) * cell.served


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
