"""Hard caps: the worst case of a request is held against every budget that it falls under, before any upstream hears of it."""

import asyncio
import time
from collections.abc import Sequence
from itertools import islice
from math import ceil
from typing import Final

import msgspec

from penstock.domain.dialects.content import output_bound
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord, booked_of
from penstock.domain.units import format_usd
from penstock.gateway.accounts import Caps, booked_on, covers
from penstock.gateway.bounds import VERDICT_TOKENS, Ahead, ahead, rest_of, verifiers, worst_case_of
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.ladder import below
from penstock.gateway.metering import aside_cost
from penstock.gateway.purses import Held, Purse, Short
from penstock.gateway.refusal import Refusal
from penstock.gateway.routing.path import path_of
from penstock.gateway.steering import stands_in
from penstock.gateway.targets import Candidate
from penstock.gateway.wasting import wasted_tries

OPENING_S: Final = 3.0
"""how long a request waits for a cap whose spend is still being read from the ledger"""
LOOK_S: Final = 0.1


async def draw(gateway: Gateway, caps: Caps, x: Exchange) -> None:
    """Takes the worst case of the plan, or of a cheaper one where a budget asks for that. Raises `Refusal` (budget; input when nothing
    bounds the request)."""
    waited_since = time.monotonic()
    x.caps = _purses_of(gateway, caps, x)
    while x.caps:
        short = await _fill(caps, x, _wants(gateway, caps, x))
        if short is None:
            return
        await _answer_to(gateway, caps, x, short, time.monotonic() - waited_since)


async def draw_more(gateway: Gateway, caps: Caps, x: Exchange, candidate: Candidate) -> bool:
    """Holds more, where tries that brought nothing have used up what a further one needs. False: it does not fit."""
    cost, tokens = worst_case_of(gateway, x, (candidate,))
    wasted = wasted_tries(gateway, x)
    if cost is None or x.reserved is None or not wasted.known:
        return False
    if x.payer is not None:
        before, x.reserved = x.reserved, wasted.cost + cost
        if await draw_aside(gateway, caps, x.payer, x):
            return True
        x.reserved = before
        return False
    need = wasted.cost + _aside_cost(x) + cost
    more = max(0, need - x.reserved)
    wants = [
        (purse, need if _in_usd(purse) else _aside_gpu_us(caps, x, purse) + _work_of(caps, x, purse, candidate)) for purse, _ in x.held
    ]
    if await _fill(caps, x, wants) is not None:
        return False
    _reserve(x, more, tokens)
    return True


async def draw_aside(gateway: Gateway, caps: Caps, x: Exchange, child: Exchange) -> bool:
    """Holds what a call made aside for `x` may cost (`child.reserved`), beside what was spent and what the rest of the path needs, as
    far as all that is not held already. False: it does not fit, or nothing bounds it."""
    (candidate,) = child.plan
    purses = caps.accounts.purses_of(x, child.plan)
    rest, _ = rest_of(gateway, x)
    if child.reserved is None or rest is None:
        return not (purses or x.held)
    need = wasted_tries(gateway, x).cost + _aside_cost(x, child) + child.reserved + rest
    more = max(0, need - (x.reserved or 0))
    wants = [
        (
            purse,
            need
            if _in_usd(purse)
            else _wasted_gpu_us(caps, x, purse)
            + _aside_gpu_us(caps, x, purse, child)
            + _work_of(caps, child, purse, candidate)
            + _rest_gpu_us(gateway, caps, x, purse),
        )
        for purse in dict.fromkeys((*(purse for purse, _ in x.held), *purses))
    ]
    if await _fill(caps, x, wants) is not None:
        return False
    child.held = [(purse, child.reserved if _in_usd(purse) else _work_of(caps, child, purse, candidate)) for purse, _ in wants]
    x.caps = tuple(purse for purse, _ in wants)
    _reserve(x, more, child.worst_tokens)
    return True


def settle_caps(gateway: Gateway, caps: Caps, x: Exchange, record: UsageRecord | None, written: bool) -> None:
    """What was held is spent as far as the record and the lines of the calls made aside say (there may be only these); whole where they
    could not all be written while a reservation stands on the journal."""
    costs = [_spent_on(caps, x, purse, record) for purse, _ in x.held]
    if not written and (x.journaled is not None or any(child.journaled is not None for child in x.booked)):
        costs = [amount for _, amount in x.held]
    caps.purses.settle(x.held, costs)
    beyond = [purse.account.name for (purse, amount), cost in zip(x.held, costs, strict=True) if cost > amount]
    if beyond:
        gateway.counters.exceeded += 1
        cost = (0 if record is None else booked_of(record) or 0) + _aside_cost(x)
        told = f"{format_usd(cost)} USD where {format_usd(x.reserved)} USD were reserved"
        gateway.log(f"warning: request {x.id} cost {told}: it counts in full against {', '.join(beyond)}")


async def _fill(caps: Caps, x: Exchange, wants: Sequence[Held]) -> Short | None:
    """Takes what of these amounts is not held yet, all or nothing; what is held beyond them stays."""
    held = dict(x.held)
    lacks = [(purse, max(0, amount - held.get(purse, 0))) for purse, amount in wants]
    if held and not any(amount for _, amount in lacks):
        return None
    outcome = await caps.purses.take(lacks)
    if isinstance(outcome, Short):
        return outcome
    held = dict(x.held)  # another call of the same request may have taken something meanwhile
    for purse, amount in outcome:
        held[purse] = held.get(purse, 0) + amount
    x.held = list(held.items())
    return None


def _reserve(x: Exchange, more: int, tokens: Tokens | None) -> None:
    """Notes that so many nano-USD more are held, for so many tokens. Calls that are made at once each add theirs."""
    if more:
        x.reserved = (x.reserved or 0) + more
        x.worst_tokens = tokens if x.worst_tokens is None or tokens is None else x.worst_tokens.plus(tokens)


def _aside_cost(x: Exchange, but: Exchange | None = None) -> int:
    """Nano-USD of calls made aside: what those that are over have cost, and the most that the others may."""
    return aside_cost(x.asides) + sum(child.reserved or 0 for child in x.helpers if child is not but)


def _aside_gpu_us(caps: Caps, x: Exchange, purse: Purse, but: Exchange | None = None) -> int:
    over = sum(_booked_on(caps, child, purse, record) for child, record in zip(x.booked, x.asides, strict=True))
    return over + sum(_work_of(caps, child, purse, child.plan[0]) for child in x.helpers if child is not but)


def _rest_gpu_us(gateway: Gateway, caps: Caps, x: Exchange, purse: Purse) -> int:
    path = path_of(x)
    if not x.plan or x.purpose is not None or x.stage > (0 if path is None else len(path.legs)):
        return 0
    if path is None:
        return max(_gpu_us(caps, x, purse, each) for each in x.plan)
    last = max((_gpu_us(caps, x, purse, each) for each in path.finals), default=0)
    return last + sum(_gpu_us_of(caps, x, purse, each) for each in ahead(gateway, x, path, x.stage))


def _gpu_us_of(caps: Caps, x: Exchange, purse: Purse, call: Ahead) -> int:
    if call.about is None:
        return _gpu_us(caps, x, purse, call.candidate)
    fleet = call.candidate.fleet
    return caps.gpu_time.of(fleet.name, VERDICT_TOKENS) if fleet is not None and covers(purse.account, call.candidate) else 0


def _spent_on(caps: Caps, x: Exchange, purse: Purse, record: UsageRecord | None) -> int:
    aside = sum(
        (booked_of(each) or 0) if purse.plain else _booked_on(caps, child, purse, each)
        for child, each in zip(x.booked, x.asides, strict=True)
    )
    if record is None:
        return aside
    return aside + ((booked_of(record) or 0) if purse.plain else _booked_on(caps, x, purse, record))


def _purses_of(gateway: Gateway, caps: Caps, x: Exchange) -> tuple[Purse, ...]:
    """All that it may fall under, with what is held already of calls that were made before."""
    return tuple(dict.fromkeys((*caps.accounts.purses_of(x, _payees(gateway, x)), *(purse for purse, _ in x.held))))


def _payees(gateway: Gateway, x: Exchange) -> Sequence[Candidate]:
    """All who may be asked on its way."""
    return x.plan if path_of(x) is None else (*x.plan, *verifiers(gateway, x))


def _wants(gateway: Gateway, caps: Caps, x: Exchange) -> list[Held]:
    cost = x.reserved
    if cost is None:
        raise _unpriced(gateway, x) or _unbounded(x, x.caps[0])
    return [(purse, cost if _in_usd(purse) else _aside_gpu_us(caps, x, purse) + _rest_gpu_us(gateway, caps, x, purse)) for purse in x.caps]


def _in_usd(purse: Purse) -> bool:
    return purse.account.law.unit == "USD"


def _gpu_us(caps: Caps, x: Exchange, purse: Purse, candidate: Candidate) -> int:
    """The most that a candidate's planned work counts: 0 for one that does not fall under the account."""
    if candidate.fleet is None or not covers(purse.account, candidate):
        return 0
    assert x.body is not None
    most = 0 if x.endpoint == "embeddings" else output_bound(x.body, candidate.max_output)
    if most is None:
        raise _unbounded(x, purse)
    return caps.gpu_time.of(candidate.fleet.name, most)


def _wasted_gpu_us(caps: Caps, x: Exchange, purse: Purse) -> int:
    """Tries that brought nothing, booked whole."""
    return sum(_gpu_us(caps, x, purse, each.candidate) for each in x.wasted)


def _work_of(caps: Caps, x: Exchange, purse: Purse, candidate: Candidate) -> int:
    """The most work of an exchange: its tries that brought nothing, and one more."""
    return _wasted_gpu_us(caps, x, purse) + _gpu_us(caps, x, purse, candidate)


def _booked_on(caps: Caps, x: Exchange, purse: Purse, record: UsageRecord) -> int:
    """What a record counts; without an answer its tokens are those of all its tries, under the last one's name."""
    booked = booked_on(purse.account, record, caps.gpu_time.of)
    if _in_usd(purse):
        return booked
    wasted = _wasted_gpu_us(caps, x, purse)
    return booked + wasted if x.worked else max(booked, wasted)


async def _answer_to(gateway: Gateway, caps: Caps, x: Exchange, short: Short, waited_s: float) -> None:
    """What the budget that stands in the way asks for; returns when it is worth trying again. Raises `Refusal`."""
    account = short.purse.account
    if short.state == "closed" and waited_s < OPENING_S:
        await asyncio.sleep(LOOK_S / 2)
    elif short.state != "full":
        raise _unknown_spend(short)
    elif account.at_limit == "downgrade" and (cheaper := _cheaper(gateway, x)):
        instead = x.plan[0] if (path := path_of(x)) is None else path.finals[0]
        if cheaper[0].model != instead.model:
            x.steered, x.steered_from = f"budget:{account.name}", x.steered_from or instead.model
        if x.course is not None and x.decision is not None:
            why = f"{x.decision.why}; the budget `{account.name}` has room for one call only"
            x.decision = msgspec.structs.replace(x.decision, why=why)
        x.plan, x.course = cheaper, None
        x.reserved, x.worst_tokens = worst_case_of(gateway, x, x.plan)
        x.caps = _purses_of(gateway, caps, x)
    elif account.at_limit == "queue" and waited_s < account.max_wait_s and not _is_over(short.purse) and short.need <= account.law.amount:
        await caps.purses.some_released(min(LOOK_S, account.max_wait_s - waited_s))
    else:
        gateway.counters.refused[account.name] = gateway.counters.refused.get(account.name, 0) + 1
        raise _used_up(short)


def _cheaper(gateway: Gateway, x: Exchange) -> tuple[Candidate, ...]:
    """The next cheaper plan: first without dearer fallbacks, then one tier lower, and so on. Empty: there is none."""
    first = x.plan[0]
    if len(x.plan) > 1 and worst_case_of(gateway, x, (first,))[0] != x.reserved:
        return (first,)
    fit = (each for each in below(gateway, x, first) if stands_in(gateway, x, each) and worst_case_of(gateway, x, (each,))[0] is not None)
    return tuple(islice(fit, 1))


def _is_over(purse: Purse) -> bool:
    """Whether the period that a request came in is over: what it waits for does not come."""
    return purse.account.law.period is not None and purse.until <= time.time_ns()


def _used_up(short: Short) -> Refusal:
    account = short.purse.account
    law = account.law
    again = "It frees up as older spend leaves its window"
    if law.period is not None and _is_over(short.purse):
        again = "A new period has begun since this request came in: send it again"
    elif law.period is not None:
        again = f"It begins anew at {_instant(short.purse.until)}"
    room = max(0, short.purse.room + (short.purse.left or 0))
    left, need = _told(room, law.unit), _told(short.need, law.unit)
    message = f"the budget `{account.name}` ({account.text}) has {left} left, and this request may cost up to {need}"
    hint = f"{again}; a smaller max_tokens may fit sooner"
    if short.need > law.amount:
        hint = "That is more than the whole budget: send a smaller max_tokens, or ask for a cheaper model"
    refusal = Refusal(402, "budget", message, hint, code="insufficient_quota")
    refusal.final = True
    return refusal


def _unknown_spend(short: Short) -> Refusal:
    account = short.purse.account
    why = "what it has spent is still being read from the ledger" if short.state == "closed" else "the store that hosts share is away"
    refusal = Refusal(503, "budget", f"the budget `{account.name}` is closed: {why}", "Try again in a moment", code="budget_closed")
    refusal.retry_after_s = 2
    return refusal


def _unbounded(x: Exchange, purse: Purse) -> Refusal:
    name, passed = purse.account.name, x.target is None
    hint = "Send max_tokens, or give the model a price, `context` and `max_output` in the configuration"
    if passed:
        hint = f"A call that is passed through has no price here: give the budget `{name}` a `where` that leaves it out, or use another key"
    return Refusal(
        400,
        "input",
        f"nothing bounds what this request may cost, and the budget `{name}` is a hard cap",
        hint,
        code="unbounded_cost",
        param=None if passed else "max_tokens",
    )


def _unpriced(gateway: Gateway, x: Exchange) -> Refusal | None:
    """The refusal where only a price is missing: what a client can send makes no difference."""
    for candidate in _payees(gateway, x) if x.target is not None else ():
        schedule = gateway.prices.schedule(candidate.model)
        if schedule is None or schedule.at(x.admitted_ns) is None:
            told = f"`{candidate.model}` has no price, so the budget `{x.caps[0].account.name}`, a hard cap, cannot be held for it"
            hint = f'Give [models."{candidate.model}"] a price, or leave it out of the budget by its `where`'
            return Refusal(400, "input", told, hint, code="unpriced_model", param="model")
    return None


def _told(amount: int, unit: str) -> str:
    return f"{format_usd(amount)} USD" if unit == "USD" else f"{ceil(amount / 36_000) / 100_000:g} GPU-hours"


def _instant(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 10**9))
