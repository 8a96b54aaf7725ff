"""The most that a request can cost here: its worst case over configured models at the prices of its instant, and along its path."""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.domain.budgets.worst_case import Candidate as Bound
from penstock.domain.budgets.worst_case import ceiling, input_bound, worst_case
from penstock.domain.dialects.content import output_bound
from penstock.domain.dialects.processing import processing_of
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.path import Path, path_of
from penstock.gateway.targets import Candidate

VERDICT_TOKENS: Final = 64
"""tokens that a verifier may say, as is planned for; one that may say more is held for when it is asked"""
VERIFIER_OVERHEAD: Final = 512
"""tokens: the instructions around question and answer"""
BYTES_OF_TOKEN: Final = 4
"""of an answer that a verifier reads, as is planned for; a longer one is held for when it is asked"""


class Ahead(msgspec.Struct, frozen=True):
    """A call that a request may still make before the last stage of its path; `about`: it judges an answer of that candidate."""

    candidate: Candidate
    about: Candidate | None = None


def worst_case_of(gateway: Gateway, x: Exchange, candidates: Sequence[Candidate]) -> tuple[int | None, Tokens | None]:
    """Nano-USD and tokens, None where nothing bounds them; over the dearest of the candidates, and of the processing class that is
    asked for and the standard one, which a provider may fall back to. A class without a price has no bound."""
    if x.body is None or x.target is None:
        return None, None
    asked, bounds = processing_of(x.body), []
    for candidate in candidates:
        for processing in dict.fromkeys((None, asked)):
            schedule = gateway.prices.schedule(candidate.model, processing)
            rates = schedule.at(x.admitted_ns) if schedule is not None else None
            bounds.append(Bound(rates, candidate.context, candidate.max_output))
    return worst_case(x.body, bounds, generates=x.endpoint != "embeddings")


def rest_of(gateway: Gateway, x: Exchange) -> tuple[int | None, Tokens | None]:
    """Nano-USD and tokens of the dearest way that lies ahead of a request: every call of its judged stages, then the dearest of the
    last stage and the fallbacks; without such stages the dearest of its plan. None where nothing bounds them; nothing for one that
    has begun its last stage, or is no request itself."""
    path = path_of(x)
    if not x.plan or x.purpose is not None or x.stage > (0 if path is None else len(path.legs)):
        return 0, NO_TOKENS
    if path is None:
        return worst_case_of(gateway, x, x.plan)
    cost, tokens = worst_case_of(gateway, x, path.finals) if path.finals else (0, NO_TOKENS)
    for each in ahead(gateway, x, path, x.stage):
        further, more = _case_of(gateway, x, each)
        cost = None if cost is None or further is None else cost + further
        tokens = None if tokens is None or more is None else tokens.plus(more)
    return cost, tokens


def ahead(gateway: Gateway, x: Exchange, path: Path, after: int) -> tuple[Ahead, ...]:
    """All calls of the judged stages from `after` on, each as often as it is made."""
    route = x.target.route if x.target is not None else None
    samples = route.samples if route is not None else 1
    calls: list[Ahead] = []
    for leg in path.legs[after:]:
        first = leg.candidates[0]
        calls += [Ahead(each) for each in leg.candidates]
        calls += [Ahead(first)] * (samples - 1 if leg.stage.kind == "cascade" else 0)
        calls += [Ahead(each, first) for each in verifiers(gateway, x)]
    return tuple(calls)


def shadow_bound(gateway: Gateway, x: Exchange, lacking: Sequence[Candidate], reads: int, says: int) -> int | None:
    """Nano-USD that a shadow of a request may cost: these tiers, what is asked of cheap ones to see how sure they are, and a judge model
    that compares each cheap tier with the last one in both orders. `reads`, `says`: its tokens at most. None: nothing bounds them."""
    assert x.target is not None and x.target.route is not None
    route, (*cheap, _) = x.target.route, x.target.primaries
    costs = [worst_case_of(gateway, x, (each,))[0] for each in lacking]
    for tier in cheap:
        if tier in lacking and route.strategy != "gate":
            costs += [worst_case_of(gateway, x, (tier,))[0]] * (route.samples - 1)
        if tier in lacking:
            costs += [_case_of(gateway, x, Ahead(each, tier))[0] for each in verifiers(gateway, x)]
        if route.judge is not None:
            read = min(_read_of(x, tier, 2) or reads, reads + VERIFIER_OVERHEAD)
            costs += [_cost_of_reading(gateway, x, gateway.targets.candidate(route.judge), read, says)] * 2
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def verifiers(gateway: Gateway, x: Exchange) -> tuple[Candidate, ...]:
    """The models that are asked about each answer of a judged stage, by the checks of the route that are for this request."""
    checks = gateway.checks.of(x).values() if gateway.checks is not None else ()
    return tuple(gateway.targets.candidate(check.model) for check in checks if check.kind == "verifier" and check.model is not None)


def _case_of(gateway: Gateway, x: Exchange, call: Ahead) -> tuple[int | None, Tokens | None]:
    if call.about is None:
        return worst_case_of(gateway, x, (call.candidate,))
    read = _read_of(x, call.about, 1)
    if read is None and (read := call.candidate.context) is None:
        return None, None
    return _cost_of_reading(gateway, x, call.candidate, read, VERDICT_TOKENS), Tokens(read, 0, 0, VERDICT_TOKENS, 0)


def _read_of(x: Exchange, about: Candidate, answers: int) -> int | None:
    """Tokens of the request and so many answers of a candidate, as is planned for; None where nothing bounds them."""
    assert x.body is not None
    asked, said = input_bound(x.body), output_bound(x.body, about.max_output)
    return None if asked is None or said is None else asked + answers * said * BYTES_OF_TOKEN + VERIFIER_OVERHEAD


def _cost_of_reading(gateway: Gateway, x: Exchange, candidate: Candidate, read: int, said: int) -> int | None:
    schedule = gateway.prices.schedule(candidate.model)
    rates = schedule.at(x.admitted_ns) if schedule is not None else None
    return None if rates is None else ceiling(rates, read, said)
