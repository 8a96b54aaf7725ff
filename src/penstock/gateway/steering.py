"""Steering: while an objective is missed, its requests are answered by another tier, or wait; never against a rule or a key.

Only what names a tier is steered: a model that stands in no tier was asked for by its name alone. `critical` requests, embeddings
(vectors of two models cannot be compared) and requests that would not fit the other model's context keep their way.
"""

import time
from collections.abc import Sequence
from typing import Final

from penstock.domain.dialects.content import output_bound, text_bytes
from penstock.domain.dialects.usage import estimate_tokens
from penstock.gateway.exchange import MODEL_ENDPOINTS, Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.ladder import below
from penstock.gateway.standing import Stand
from penstock.gateway.targets import Candidate

STEERED: Final = MODEL_ENDPOINTS - {"embeddings"}


def steer(gateway: Gateway, x: Exchange, plan: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The plan with the model first that the standing directives ask for; what would have been asked first stays its fallback.

    `plan` is not empty and within the rules. The oldest directive that has another model for the request counts.
    """
    if x.endpoint not in STEERED or x.sla == "critical":
        return tuple(plan)
    first = plan[0]
    for stand in gateway.standing.shifts:
        if stand.directive.until_ns <= x.admitted_ns or first.tier is None or not stand.asks(x):
            continue
        found = _shifted(gateway, x, first, stand) if stand.directive.kind == "shift_traffic" else _lowered(gateway, x, first, stand)
        if found is not None and fits(x, found):
            x.steered, x.steered_from = stand.directive.id, first.model
            return (found, *(each for each in plan if each.model != found.model))
    return tuple(plan)


def stands_in(gateway: Gateway, x: Exchange, candidate: Candidate) -> bool:
    """Whether a candidate of another tier may and can answer a request instead."""
    return x.endpoint in STEERED and _may(gateway, x, candidate) and fits(x, candidate)


def refused_stand_in(x: Exchange) -> bool:
    """Whether the model that stands in for another one refuses the request (it knows no images, no tools, lacks a key ...), so that
    the other one has to be asked after all: a request that is fine for the model that was asked for must not fail."""
    if x.steered is None or len(x.plan) < 2 or x.candidate is not x.plan[0] or x.responder.started:
        return False
    return x.answer is not None and 400 <= x.status < 500


def held(gateway: Gateway, x: Exchange) -> bool:
    """Whether a best-effort request has to wait until an objective is met again. Asked anew while it waits."""
    if not gateway.standing.holds or x.sla != "best_effort":
        return False
    now_ns = time.time_ns()
    candidates = x.plan[:1] or (x.target.primaries if x.target is not None else ())
    return any(
        stand.directive.until_ns > now_ns and stand.asks(x) and (not stand.by_model or any(map(stand.names, candidates)))
        for stand in gateway.standing.holds
    )


def _shifted(gateway: Gateway, x: Exchange, first: Candidate, stand: Stand) -> Candidate | None:
    """The model of the tier that traffic is shifted to.

    Where the objective is about that very model (its fleet stands idle, so that its tokens are dear), the others come to it;
    else its own requests go there.
    """
    assert x.target is not None
    named = (*x.target.candidates, *gateway.targets.ladder)
    found = next((each for each in named if each.tier == stand.directive.argument), None)
    if found is None or found.model == first.model or not _may(gateway, x, found):
        return None
    fills = bool(stand.by_model) and stand.names(found)
    return found if fills or stand.names(first) else None


def _lowered(gateway: Gateway, x: Exchange, first: Candidate, stand: Stand) -> Candidate | None:
    """The dearest model that is cheaper."""
    if not stand.names(first):
        return None
    return next((each for each in below(gateway, x, first) if each.model != first.model and _may(gateway, x, each)), None)


def _may(gateway: Gateway, x: Exchange, candidate: Candidate) -> bool:
    """Whether rules and key let it answer, and its upstream can. A key for certain models that asks for one by name gets none beside
    them; by a route it gets what the route and its tiers have."""
    assert x.target is not None
    if x.key is not None and x.key.models and x.target.name in gateway.settings.models and candidate.model not in x.key.models:
        return False
    return x.may_use(candidate.upstream, candidate.tier) and gateway.speech.endpoint(candidate.upstream, x.endpoint) is not None


def fits(x: Exchange, candidate: Candidate) -> bool:
    """Whether the request, as far as it can be estimated, and the answer that it asks for have room in the model's context."""
    if candidate.context is None or x.body is None:
        return True
    return estimate_tokens(text_bytes(x.body)) + (output_bound(x.body, candidate.max_output) or 0) <= candidate.context
