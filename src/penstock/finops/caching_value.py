"""What the cache is worth, layer by layer: what its answers would have cost, what looking for them costs, and what wrong ones may cost.

Answers and amounts are those of the ledger. How often an answer is wrong is measured elsewhere, by scope and not by window: the share
of wrong ones among answers by meaning is taken over to those of the window. Money is nano-USD, None is unknown.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from penstock.config.caching import SemanticCache
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import REPLAYED
from penstock.domain.prices.hardware import parse_amount
from penstock.domain.units import NANO_PER_USD
from penstock.finops.ledger import Summed
from penstock.finops.metrics import Gauges
from penstock.finops.savings import BY, replayed_worth
from penstock.ports.cache_truth import ScopeTruth
from penstock.ports.metrics import CACHE_ALARMS, CACHE_EXPECTED, CACHE_PROMISED, CACHE_WRONG

NOT_MEASURED = "not measured yet"
NO_PRICE = "`[cache.semantic] wrong_answer` is not set"


class Layer(msgspec.Struct, frozen=True):
    """One layer: the answers that it gave, and what those of them that can be compared would have cost to make."""

    name: str
    answers: int
    compared: int
    avoided: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong ones among answers by meaning, over all scopes that are measured, each weighted by its answers.

    `low` to `high` holds if the interval of every scope does.
    """

    estimate: Fraction
    low: Fraction
    high: Fraction
    served: Fraction | None
    """answers by meaning as a share of the requests looked at: times this, wrong ones are the share of requests that is promised"""
    compared: int
    """answers that were compared with a fresh one"""
    scopes: int
    unmeasured: int
    """scopes of which nothing can be said yet"""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong answers as shares of REQUESTS, as the risks say at which answers were served: what the promise rests on."""

    share: float
    """over all scopes of which it is known, each weighted by its requests"""
    at_most: float
    """what the promise bounds them by with a probability of 95 %, in the scope where that is largest: it holds scope by scope"""


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """What wrong answers by meaning are expected to cost; None beside `why` is unknown."""

    answers: Fraction | None
    cost: int | None
    least: int | None
    most: int | None
    why: str = ""


class Potential(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that a model answered though the cache could have, as it only watched or measured itself; what that would have saved."""

    looked: int
    """answered requests that the semantic cache made something of"""
    normalised: int
    normalised_cost: int
    semantic: int
    semantic_cost: int
    priced: int
    """of both, those whose cost is known"""
    wrong: Wrong
    """what wrong ones among the answers by meaning would have cost"""

    @property
    def answers(self) -> int:
        """Requests that it would have answered."""
        return self.normalised + self.semantic

    @property
    def cost(self) -> int:
        """What those that are priced cost beyond their embedding."""
        return self.normalised_cost + self.semantic_cost


class CachingValue(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache is worth over a window. `net` is of the semantic layer: avoided - embedding - wrong."""

    layers: tuple[Layer, ...]
    embedding_cost: int | None
    embedding_known: int
    """as much of it as is known"""
    measured: Measured | None
    expected: Expected | None
    scopes: tuple[ScopeTruth, ...]
    """all of them, those to look at first foremost: in alarm, then those that were measured to be wrong most often, of requests"""
    promised: float | None
    """the strictest promise of any scope, a share of REQUESTS"""
    alarms: tuple[str, ...]
    """scopes that have fallen back to zero-trust"""
    wrong: Wrong
    net: int | None
    net_low: int | None
    net_high: int | None
    """`net` at the ends of the interval of what wrong answers cost"""
    potential: Potential

    def layer(self, name: str) -> Layer:
        """One layer by its name."""
        return next(layer for layer in self.layers if layer.name == name)


def caching_value(ledger: Summed, query: CostQuery, scopes: Sequence[ScopeTruth], config: SemanticCache) -> CachingValue:
    """The value of the cache over a window and its filters; the query's own keys are not looked at."""
    total, by_layer = Sums(), {name: Sums() for name in REPLAYED}
    for (cache, *_), sums in ledger.sums(msgspec.structs.replace(query, by=BY)):
        total.add(sums)
        if cache in REPLAYED:
            by_layer[cache].add(sums)
    layers = tuple(Layer(name, sums.requests, sums.compared, replayed_worth(sums)) for name, sums in by_layer.items())
    semantic, found = layers[-1], measured(scopes)
    price = None if config.wrong_answer is None else parse_amount(config.wrong_answer, "wrong_answer") * NANO_PER_USD
    embedding = None if total.embedding_unknown else total.embedding_cost
    wrong = _wrong(semantic.answers, found, price)
    promised = _strictest(scopes)
    return CachingValue(
        layers=layers,
        embedding_cost=embedding,
        embedding_known=total.embedding_cost,
        measured=found,
        expected=expected(scopes),
        scopes=tuple(sorted(scopes, key=_doubt)),
        promised=config.max_error if promised is None and config.mode == "learned" else promised,
        alarms=tuple(each.scope for each in scopes if each.alarm),
        wrong=wrong,
        net=_net(semantic.avoided, embedding, wrong.cost),
        net_low=_net(semantic.avoided, embedding, wrong.most),
        net_high=_net(semantic.avoided, embedding, wrong.least),
        potential=Potential(
            looked=total.looked,
            normalised=total.would_normalised,
            normalised_cost=total.would_normalised_cost,
            semantic=total.would_semantic,
            semantic_cost=total.would_semantic_cost,
            priced=total.would_priced,
            wrong=_wrong(total.would_semantic, found, price),
        ),
    )


def measured(scopes: Sequence[ScopeTruth]) -> Measured | None:
    """All scopes together; None while nothing is measured anywhere."""
    known = [each for each in scopes if each.estimate is not None]
    if not known:
        return None
    weights = [each.served for each in known]
    if not any(weights):  # measured, but nothing served yet: each counts as much as it was looked into
        weights = [each.compared or 1 for each in known]

    def average(shares: Sequence[float | None]) -> Fraction:
        parts = (weight * Fraction(share or 0.0) for weight, share in zip(weights, shares, strict=True))
        return sum(parts, Fraction(0)) / sum(weights)

    requests, served = sum(each.requests for each in known), sum(each.served for each in known)
    return Measured(
        estimate=average([each.estimate for each in known]),
        low=average([each.estimate if each.low is None else each.low for each in known]),
        high=average([1.0 if each.high is None else each.high for each in known]),
        served=Fraction(served, requests) if requests else None,
        compared=sum(each.compared for each in known),
        scopes=len(scopes),
        unmeasured=len(scopes) - len(known),
    )


def expected(scopes: Sequence[ScopeTruth]) -> Expected | None:
    """All scopes together; None where nothing is served, or nobody knows the risks."""
    known = [each for each in scopes if each.expected is not None and each.at_most is not None and each.requests]
    if not known:
        return None
    wrong = sum((each.expected or 0.0) * each.requests for each in known)
    return Expected(share=wrong / sum(each.requests for each in known), at_most=max(each.at_most or 0.0 for each in known))


def of_requests(truth: ScopeTruth, share: float | None) -> float | None:
    """A share of the answers by meaning of a scope as one of its requests, which is what is promised."""
    return share * truth.served / truth.requests if share is not None and truth.requests else None


def error_gauges(scopes: Sequence[ScopeTruth]) -> Gauges:
    """What `/metrics` shows of wrong answers, all scopes together; nothing before anything is known."""
    gauges: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    if scopes:
        gauges[CACHE_ALARMS.name] = [((), float(sum(each.alarm for each in scopes)))]
    if (promised := _strictest(scopes)) is not None:
        gauges[CACHE_PROMISED.name] = [((), promised)]
    if (found := measured(scopes)) is not None and found.served is not None:
        bounds = (("estimate", found.estimate), ("low", found.low), ("high", found.high))
        gauges[CACHE_WRONG.name] = [((name,), float(share * found.served)) for name, share in bounds]
    if (by_risk := expected(scopes)) is not None:
        gauges[CACHE_EXPECTED.name] = [(("expected",), by_risk.share), (("at_most",), by_risk.at_most)]
    return gauges


def _net(avoided: int, embedding: int | None, wrong: int | None) -> int | None:
    return None if embedding is None or wrong is None else avoided - embedding - wrong


def _doubt(truth: ScopeTruth) -> tuple[bool, float, float, str]:
    """Where a scope stands among all: the more reason to look at it, the earlier."""
    measured = of_requests(truth, truth.estimate)
    return not truth.alarm, -1.0 if measured is None else -measured - 1, -(truth.at_most or 0.0), truth.scope


def _strictest(scopes: Sequence[ScopeTruth]) -> float | None:
    return min((each.promised for each in scopes if each.promised is not None), default=None)


def _wrong(answers: int, found: Measured | None, price: Fraction | None) -> Wrong:
    """Of no answer none is wrong, whatever is known."""
    if not answers:
        return Wrong(answers=Fraction(0), cost=0, least=0, most=0)
    if found is None:
        return Wrong(answers=None, cost=None, least=None, most=None, why=NOT_MEASURED)
    expected = answers * found.estimate
    if price is None:
        return Wrong(answers=expected, cost=None, least=None, most=None, why=NO_PRICE)
    cost, least, most = (round(answers * rate * price) for rate in (found.estimate, found.low, found.high))
    return Wrong(answers=expected, cost=cost, least=least, most=most)
