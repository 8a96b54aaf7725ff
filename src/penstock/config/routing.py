"""`[tiers] [routes] [checks] [features] [[rules]]`: who answers what, and how it is made sure that the answer is good enough."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from penstock.config.tables import Condition, Fraction01, Table, doc
from penstock.domain.units import Duration

ErrorBudget = Annotated[float, Meta(gt=0, le=0.5)]
Share = Annotated[float, Meta(ge=0, le=0.5)]
Weight = Annotated[float, Meta(ge=0)]
Samples = Annotated[int, Meta(ge=1, le=5)]
Strategy = Literal["fixed", "by_complexity", "cascade", "gate", "learned"]
JUDGED: Final = frozenset({"cascade", "gate", "learned"})
"""strategies with which a cheap tier's answer is looked at before it is kept"""
LOOKS: Final = frozenset({"task", "complexity"})
"""words of `by` that are no tags: what the request looks like"""


class Tier(Table, frozen=True):
    """A quality and price class of models."""

    model: Annotated[str, doc("Model of this tier.")]
    complexity: Annotated[Condition | None, doc("Complexity scores (0 to 1) that the tier takes, such as `> 0.7`; unset: the rest.")] = None


class Check(Table, frozen=True):
    """A test that an answer must pass before a cheap tier's is kept; what is kept of shadowed answers is tested by it, too."""

    kind: Annotated[
        Literal["regex", "json", "json_schema", "sql", "code", "python", "http", "verifier"],
        doc(
            "`regex`: the text matches `pattern`; `json`: it is JSON; `json_schema`: of `schema`; `sql`, `code`: it can be parsed; "
            "`python`: `callable` says so; `http`: `url` says so; `verifier`: `model` is asked whether the answer is right."
        ),
    ]
    pattern: Annotated[str | None, doc("Regular expression of `regex`, searched in the text.")] = None
    schema: Annotated[dict[str, Any] | None, doc("JSON Schema of `json_schema`; unset: the one that the request itself asks for.")] = None
    callable: Annotated[
        str | None,
        doc("`module:function` of `python`; it gets question and answer as texts and returns a bool, or a probability from 0 to 1."),
    ] = None
    url: Annotated[
        str | None, doc('Address of `http`: it gets `{"question", "answer", "tags"}` and answers `{"pass": true}` or `{"score": 0.9}`.')
    ] = None
    model: Annotated[str | None, doc("Model of `verifier`; its calls stand on the ledger beside the request.")] = None
    timeout: Annotated[Duration, doc("How long it may take; a check that takes longer, or fails itself, has not passed.")] = Duration(2)
    where: Annotated[dict[str, str], doc("Tags of the requests that it is for; none: all of the route.")] = {}


class RouteSla(Table, frozen=True):
    """What differs on a route for requests of one `sla`."""

    error_budget: Annotated[ErrorBudget | None, doc("Loss of quality that is accepted; unset: as the route.")] = None
    cost_weight: Annotated[Weight | None, doc("As the route's `cost_weight`, for this class.")] = None
    strategy: Annotated[Strategy | None, doc("Unset: as the route.")] = None


class Preset(Table, frozen=True):
    """A way that a client may ask for with the header `penstock-preset`. It can only be more careful than its route, or cost more."""

    strategy: Annotated[Strategy | None, doc("Unset: as the route.")] = None
    tiers: Annotated[tuple[str, ...], doc("Tiers of the route to choose from; none: all.")] = ()
    error_budget: Annotated[ErrorBudget | None, doc("Loss of quality that is accepted; never more than the route's.")] = None
    confidence: Annotated[Fraction01 | None, doc("Least confidence of a kept answer; never less than the route's.")] = None


class Route(Table, frozen=True):
    """A name that clients may ask for instead of a model."""

    strategy: Annotated[
        Strategy,
        doc(
            "How a tier is chosen: `fixed` takes the first; `by_complexity` goes by the request; `cascade` asks the cheapest, judges its "
            "answer and asks the next where that is not good enough; `gate` asks the two cheapest at once and keeps an answer that both "
            "give; `learned` opens such cheap ways by what was measured here, value by value of the tags in `by`."
        ),
    ] = "fixed"
    tiers: Annotated[
        tuple[str, ...], doc("Tiers to choose from, cheap to dear; the last one is what the others are measured against.")
    ] = ()
    fallback: Annotated[tuple[str, ...], doc("Tiers or models to try when the chosen one fails.")] = ()
    cache: Annotated[
        Literal["on", "exact", "off"],
        doc("`off`: answers of this route are neither stored nor replayed; `exact`: only for the very same request."),
    ] = "on"
    cache_ttl: Annotated[
        Duration | None,
        doc("How long answers of this route may be replayed, in every layer; questions about now are replayed within it, too."),
    ] = None
    error_budget: Annotated[
        ErrorBudget | None,
        doc(
            "Mean loss of quality (0 to 1) against the last tier that is accepted: cheap ways stay open only while evidence says that they "
            "keep it. Unset: `cascade` and `gate` go by their signals alone and promise nothing; `learned` needs it."
        ),
    ] = None
    budget_over: Annotated[
        Literal["tag", "route"],
        doc(
            "What keeps the error budget: every value of `by` for itself (`tag`), or all that have labels enough of their own together "
            "(`route`), so that one may lose what another gains."
        ),
    ] = "tag"
    by: Annotated[
        tuple[str, ...],
        doc("Tags whose values are measured and opened one by one; `task` and `complexity` say what a request looks like."),
    ] = ("feature",)
    confidence: Annotated[Fraction01, doc("`cascade`: least confidence (0 to 1) with which a cheap answer is kept.")] = 0.85
    checks: Annotated[tuple[str, ...], doc("Names of `[checks.*]` that a cheap answer must pass.")] = ()
    samples: Annotated[Samples, doc("`cascade`: answers that the cheap tier gives; how many agree is a signal, and each is paid for.")] = 1
    logprobs: Annotated[
        bool,
        doc("`cascade`: ask the cheap tier for the probabilities of its tokens, where its upstream gives them; clients do not see them."),
    ] = True
    judge: Annotated[
        str | None,
        doc("Model that compares shadowed answers where no check can, in both orders; unset: agreement with the last tier."),
    ] = None
    shadow: Annotated[Share, doc("Share of requests that are answered by all tiers, beside what the client gets, to measure the loss.")] = (
        0.02
    )
    shadow_budget: Annotated[
        str | None,
        doc(
            "Most that shadows may cost on this host, such as `5 USD / day`; every worker has an equal share of it, counted from its own "
            "start. Unset: no bound but `shadow`."
        ),
    ] = None
    stream: Annotated[
        Literal["buffer", "continue"],
        doc(
            "What a streaming client sees of a tier that is judged: nothing until then (`buffer`), or its answer as it comes, and then, "
            "where that is not good enough, a line that says so and the better one (`continue`; chat)."
        ),
    ] = "buffer"
    continuation: Annotated[str, doc("The line between the two answers of `continue`.")] = (
        "That answer was not good enough. Here is a better one:"
    )
    cost_weight: Annotated[
        Weight | None,
        doc(
            "Quality (0 to 1) that saving one USD per 1,000 requests is worth: of the ways that keep the error budget, the one with most "
            "quality minus `cost_weight` times cost is taken. Unset: the cheapest of them."
        ),
    ] = None
    follow_budget: Annotated[
        str | None,
        doc("Name of a budget: while its forecast is above its limit, `cost_weight` grows with it; never past the error budget."),
    ] = None
    sticky: Annotated[
        Duration | None,
        doc("How long a conversation stays with the tier that answered it, for its prompt cache; it may only go up. Unset: not at all."),
    ] = None
    classifier: Annotated[
        str | None,
        doc("`by_complexity`: model that says how demanding a request is, instead of the heuristic; its calls stand on the ledger."),
    ] = None
    sla: Annotated[dict[str, RouteSla], doc("What differs for requests of one `sla`.")] = {}
    presets: Annotated[dict[str, Preset], doc("Ways that clients may ask for with the header `penstock-preset`.")] = {}


class Feature(Table, frozen=True):
    """What a feature (value of the tag `feature`) is worth, for the report on right sizes."""

    value: Annotated[Weight | None, doc("Weight of its value beside the other features'; unset: unknown.")] = None
    error_budget: Annotated[
        ErrorBudget | None,
        doc("Loss of quality that it bears, for the report on right sizes; unset: its route's. Routing itself goes by the route's."),
    ] = None


class Rule(Table, frozen=True):
    """A hard constraint: calls with these tags may reach only these upstreams."""

    where: Annotated[dict[str, str], doc("Tags that a request must carry for the rule to hold.")]
    only: Annotated[tuple[str, ...], doc("Upstreams that may then see it.")]
