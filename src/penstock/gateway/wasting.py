"""Tries that brought no answer but may have been worked for: what they cost, and what work they were for own hardware."""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.domain.dialects.content import text_bytes
from penstock.domain.dialects.processing import processing_of
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.dialects.usage import estimate_tokens, metered_usage
from penstock.domain.dialects.usage_fields import UsageError
from penstock.domain.ledger.costing import price_call
from penstock.domain.ledger.record import WastedWork
from penstock.gateway.bounds import worst_case_of
from penstock.gateway.exchange import Exchange, Wasted
from penstock.gateway.gateway import Gateway

DECODED_PER_S: Final = 50
"""Output tokens that an engine makes for one request in a second, to weigh a try of which only its length is known. Engines that
batch common models on one GPU show 20 to 80; the figure shares out rent that is paid anyway, and no cap depends on it."""


class WastedTries(msgspec.Struct, frozen=True):
    """All tries of a request that brought no answer, added up. Money is nano-USD."""

    cost: int = 0
    """of those that have a price and a bound"""
    known: bool = True
    """False: `cost` leaves some out that were made at providers"""
    unbooked: bool = False
    """`cost` leaves some out that were made on own fleets, whose hours tell what they cost"""
    tokens: Tokens | None = NO_TOKENS
    """None: nothing bounds one of them"""
    exact: bool = True
    """told by the upstreams, not bounded from above"""
    provisional: int = 0
    """the part of the cost for tries on own fleets"""
    work: tuple[WastedWork, ...] = ()


NOTHING_WASTED: Final = WastedTries()


def wasted_tries(gateway: Gateway, x: Exchange) -> WastedTries:
    """What the tries noted on this exchange come to.

    One that told no usage is booked whole, as after a crash: at its worst case. Its work, which only shares out what a fleet costs
    anyway, is weighed at the likeliest.
    """
    return _added([_of(gateway, x, each) for each in x.wasted]) if x.wasted else NOTHING_WASTED


def _of(gateway: Gateway, x: Exchange, wasted: Wasted) -> WastedTries:
    fleet = wasted.candidate.fleet
    if wasted.usage is not None:
        try:
            told = metered_usage(wasted.usage, wasted.calls)
        except UsageError as error:
            x.error = x.error or f"usage not credible: {error}"
        else:
            processing = processing_of(wasted.usage, wasted.service_tier)
            priced = price_call(gateway.prices, wasted.candidate.model, told.tokens, x.admitted_ns, told.parts, processing)
            work = (WastedWork(fleet.name, told.tokens),) if fleet is not None else ()
            exact = priced.cost_basis == "measured" and not priced.lacking and told.otherwise is None
            return _one(priced.cost, told.tokens, exact, work)
    cost, most = worst_case_of(gateway, x, (wasted.candidate,))
    return _one(cost, most, False, (WastedWork(fleet.name, _likely(x, wasted, most)),) if fleet is not None else ())


def _one(cost: int | None, tokens: Tokens | None, exact: bool, work: tuple[WastedWork, ...]) -> WastedTries:
    own, missing = bool(work), cost is None
    return WastedTries(cost or 0, own or not missing, own and missing, tokens, exact, (cost or 0) if own else 0, work)


def _added(tries: Sequence[WastedTries]) -> WastedTries:
    tokens: Tokens | None = NO_TOKENS
    for each in tries:
        tokens = None if tokens is None or each.tokens is None else tokens.plus(each.tokens)
    return WastedTries(
        sum(each.cost for each in tries),
        all(each.known for each in tries),
        any(each.unbooked for each in tries),
        tokens,
        all(each.exact for each in tries),
        sum(each.provisional for each in tries),
        tuple(work for each in tries for work in each.work),
    )


def _likely(x: Exchange, wasted: Wasted, most: Tokens | None) -> Tokens:
    """The prompt by its length, the output by the time that there was for it, both within what bounds them."""
    asked = estimate_tokens(text_bytes(x.body)) if x.body is not None else 0
    made = 0 if x.endpoint == "embeddings" else -(-wasted.duration_us * DECODED_PER_S // 10**6)
    return Tokens(asked, 0, 0, made, 0) if most is None else Tokens(min(asked, most.input), 0, 0, min(made, most.output), 0)
