"""What the cache is worth, for the page Savings and its twin: its layers, how often it is wrong, and what it would have saved."""

from fractions import Fraction

import msgspec
from markupsafe import Markup

from penstock.config.caching import SemanticCache
from penstock.console import words
from penstock.console.figures.interval import Interval, interval
from penstock.domain.routing.similarity.evidence import Mode
from penstock.domain.units import format_usd
from penstock.finops.caching_value import CachingValue, Measured, Potential, Wrong, of_requests
from penstock.finops.costs import share
from penstock.ports.cache_truth import ScopeTruth

MOST_SCOPES = 100
LAYERS = {"exact": "the very same request", "normalised": "the same words", "semantic": "the same meaning"}


class LayerView(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: its answers, and what making those of them that are compared would have cost."""

    layer: str
    name: str
    answers: int
    compared: int
    avoided_usd: str


class WrongView(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong answers to be expected and what they cost, with the interval that was measured; None beside `why`: unknown."""

    answers: float | None
    cost_usd: str | None
    low_usd: str | None
    high_usd: str | None
    why: str


class MeasuredView(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong answers with an interval, as shares of the answers by meaning, and of all requests there: what a promise bounds."""

    of_answers: float
    low: float
    high: float
    of_requests: float | None
    of_requests_low: float | None
    of_requests_high: float | None
    compared: int
    scopes: int
    unmeasured_scopes: int


class ScopeView(msgspec.Struct, frozen=True, kw_only=True):
    """One scope, or all of them together. The last six are shares of REQUESTS; None: unknown, or nothing is promised."""

    scope: str
    mode: Mode | None
    """that decides there now; None: of all scopes"""
    alarm: bool
    requests: int
    served: int
    compared: int
    measured: float | None
    low: float | None
    high: float | None
    expected: float | None
    """as the risks say at which answers were served"""
    at_most: float | None
    """what the promise bounds them by with a probability of 95 %; of all scopes: where that is largest"""
    promised: float | None


class PotentialView(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that the cache could have answered and did not, as it only watched or measured itself."""

    looked: int
    answers: int
    share: float | None
    """of the requests that it looked at"""
    saved_usd: str
    normalised: int
    normalised_usd: str
    semantic: int
    semantic_usd: str
    priced: int
    wrong: WrongView


class CachingView(msgspec.Struct, frozen=True, kw_only=True):
    """The cache over the window. `net_usd` is of answers by meaning: avoided less embeddings less wrong ones."""

    mode: Mode | None
    """of the semantic layer; None: it is off"""
    off: str | None
    """why it is, though the config asks for it"""
    layers: tuple[LayerView, ...]
    embedding_usd: str | None
    embedding_known_usd: str
    """as much of it as is known"""
    measured: MeasuredView | None
    expected: float | None
    """wrong answers as a share of requests, as the risks say at which answers were served"""
    at_most: float | None
    """what the promise bounds them by with a probability of 95 %, in the scope where that is largest"""
    scopes: tuple[ScopeView, ...]
    """at most `MOST_SCOPES`, those with most reason to look at them first"""
    all_scopes: int
    requests: int
    """that the cache has looked at since it began"""
    served: int
    """of those, answered by meaning; in mode `shadow` those that would have been"""
    compared: int
    """of those that could be, compared with a fresh answer"""
    promised: float | None
    """most wrong answers as a share of requests; None: nothing is promised"""
    alarms: tuple[str, ...]
    wrong: WrongView
    wrong_answer: str | None
    """what one costs, as the config says"""
    net_usd: str | None
    net_low_usd: str | None
    net_high_usd: str | None
    """at the ends of the interval of what wrong answers cost"""
    potential: PotentialView

    @property
    def loss(self) -> bool:
        """Whether wrong answers may cost more than the others save, by the interval that was measured."""
        return self.net_low_usd is not None and self.net_low_usd.startswith("-")

    @property
    def told(self) -> bool:
        """Whether there is anything to tell of answers by meaning."""
        return self.mode in ("learned", "zero-trust") or any(each.answers for each in self.layers[1:])

    @property
    def would(self) -> bool:
        """Whether there is anything to tell of answers that were not given."""
        return self.mode == "shadow" or self.potential.answers > 0


def caching_view(found: CachingValue, config: SemanticCache, off: str | None = None) -> CachingView:
    """The figures of a window as the page and its twin tell them. `off`: why nothing is answered by meaning though it is asked for."""
    on = config.enabled and off is None
    return CachingView(
        mode=config.mode if on else None,
        off=off,
        layers=tuple(
            LayerView(
                layer=each.name,
                name=LAYERS[each.name],
                answers=each.answers,
                compared=each.compared,
                avoided_usd=format_usd(each.avoided),
            )
            for each in found.layers
        ),
        embedding_usd=format_usd(found.embedding_cost),
        embedding_known_usd=format_usd(found.embedding_known),
        measured=None if found.measured is None else _measured(found.measured),
        expected=None if found.expected is None else found.expected.share,
        at_most=None if found.expected is None else found.expected.at_most,
        scopes=tuple(_scope(each, on) for each in found.scopes[:MOST_SCOPES]),
        all_scopes=len(found.scopes),
        requests=sum(each.requests for each in found.scopes),
        served=sum(each.served for each in found.scopes),
        compared=sum(each.compared for each in found.scopes),
        promised=found.promised if on else None,
        alarms=found.alarms,
        wrong=_wrong(found.wrong),
        wrong_answer=config.wrong_answer,
        net_usd=format_usd(found.net),
        net_low_usd=format_usd(found.net_low),
        net_high_usd=format_usd(found.net_high),
        potential=_potential(found.potential),
    )


def scope_rows(view: CachingView, most: int = 5) -> tuple[ScopeView, ...]:
    """The rows that the page shows: the first scopes, and what all of them come to beneath where there are several."""
    if view.all_scopes < 2:
        return view.scopes
    found = view.measured
    whole = ScopeView(
        scope=f"all {words.count(view.all_scopes)} scopes",
        mode=None,
        alarm=False,
        requests=view.requests,
        served=view.served,
        compared=view.compared,
        measured=found.of_requests if found is not None else None,
        low=found.of_requests_low if found is not None else None,
        high=found.of_requests_high if found is not None else None,
        expected=view.expected,
        at_most=view.at_most,
        promised=view.promised,
    )
    return (*view.scopes[:most], whole)


def error_figure(view: CachingView) -> Markup:
    """Wrong answers as a share of requests, with the interval, beside what is promised; empty while that is not known."""
    found = view.measured
    if found is None or found.of_requests is None or found.of_requests_low is None or found.of_requests_high is None:
        return Markup("")
    shown = Interval(found.of_requests, found.of_requests_low, found.of_requests_high, view.promised)
    bound = "" if view.promised is None else f"; promised are at most {words.percent(view.promised, 2)}"
    desc = f"Between {words.percent(shown.low, 2)} and {words.percent(shown.high, 2)} by what was compared{bound}."
    return interval(shown, f"Wrong answers: {words.percent(shown.estimate, 2)} of requests", desc)


def _scope(truth: ScopeTruth, on: bool) -> ScopeView:
    return ScopeView(
        scope=truth.scope,
        mode=truth.mode,
        alarm=truth.alarm,
        requests=truth.requests,
        served=truth.served,
        compared=truth.compared,
        measured=of_requests(truth, truth.estimate),
        low=of_requests(truth, truth.low),
        high=of_requests(truth, truth.high),
        expected=truth.expected,
        at_most=truth.at_most,
        promised=truth.promised if on else None,
    )


def _measured(found: Measured) -> MeasuredView:
    return MeasuredView(
        of_answers=float(found.estimate),
        low=float(found.low),
        high=float(found.high),
        of_requests=_float(found.served and found.served * found.estimate),
        of_requests_low=_float(found.served and found.served * found.low),
        of_requests_high=_float(found.served and found.served * found.high),
        compared=found.compared,
        scopes=found.scopes,
        unmeasured_scopes=found.unmeasured,
    )


def _wrong(found: Wrong) -> WrongView:
    return WrongView(
        answers=_float(found.answers),
        cost_usd=format_usd(found.cost),
        low_usd=format_usd(found.least),
        high_usd=format_usd(found.most),
        why=found.why,
    )


def _potential(found: Potential) -> PotentialView:
    return PotentialView(
        looked=found.looked,
        answers=found.answers,
        share=share(found.answers, found.looked),
        saved_usd=format_usd(found.cost),
        normalised=found.normalised,
        normalised_usd=format_usd(found.normalised_cost),
        semantic=found.semantic,
        semantic_usd=format_usd(found.semantic_cost),
        priced=found.priced,
        wrong=_wrong(found.wrong),
    )


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
