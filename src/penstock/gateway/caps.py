"""Hard caps: the worst case of a request is held against every budget that it falls under, before any upstream hears of it."""

import asyncio
import time
from itertools import islice
from math import ceil
from typing import Final

from penstock.domain.dialects.content import output_bound
from penstock.domain.ledger.record import UsageRecord, booked_of
from penstock.domain.units import format_usd
from penstock.gateway.accounts import Caps, booked_on, covers
from penstock.gateway.bounds import worst_case_of
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.ladder import below
from penstock.gateway.purses import Held, Purse, Short
from penstock.gateway.refusal import Refusal
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
    x.caps = caps.accounts.purses_of(x, x.plan)
    while x.caps:
        outcome = await caps.purses.take(_wants(gateway, caps, x))
        if not isinstance(outcome, Short):
            x.held = outcome
            return
        await _answer_to(gateway, caps, x, outcome, time.monotonic() - waited_since)


async def draw_more(gateway: Gateway, caps: Caps, x: Exchange, candidate: Candidate) -> bool:
    """Holds more, where tries that brought nothing have used up what a further one needs. False: it does not fit."""
    cost, tokens = worst_case_of(gateway, x, (candidate,))
    wasted = wasted_tries(gateway, x)
    if cost is None or x.reserved is None or not wasted.known:
        return False
    more = max(0, wasted.cost + cost - x.reserved)
    wants = [(purse, more if _in_usd(purse) else max(0, _more_gpu_us(caps, x, purse, candidate) - amount)) for purse, amount in x.held]
    if not any(amount for _, amount in wants):
        return True
    outcome = await caps.purses.take(wants)
    if isinstance(outcome, Short):
        return False
    x.held = [(purse, amount + extra) for (purse, amount), (_, extra) in zip(x.held, outcome, strict=True)]
    if not more:
        return True
    x.reserved += more
    x.worst_tokens = tokens if x.worst_tokens is None or tokens is None else x.worst_tokens.plus(tokens)
    return True


def settle_caps(gateway: Gateway, caps: Caps, x: Exchange, record: UsageRecord, written: bool) -> None:
    """What was held is spent as far as the record says; whole where no record could be written while a reservation stands
    on the journal."""
    cost = booked_of(record) or 0
    costs = (
        [cost if purse.plain else _booked_on(caps, x, purse, record) for purse, _ in x.held]
        if written or x.journaled is None
        else [amount for _, amount in x.held]
    )
    caps.purses.settle(x.held, costs)
    beyond = [purse.account.name for (purse, amount), cost in zip(x.held, costs, strict=True) if cost > amount]
    if beyond:
        gateway.counters.exceeded += 1
        told = f"{format_usd(record.cost)} USD where {format_usd(x.reserved)} USD were reserved"
        gateway.log(f"warning: request {x.id} cost {told}: it counts in full against {', '.join(beyond)}")


def _wants(gateway: Gateway, caps: Caps, x: Exchange) -> list[Held]:
    cost = x.reserved
    if cost is None:
        raise _unpriced(gateway, x) or _unbounded(x, x.caps[0])
    return [(purse, cost if purse.plain or _in_usd(purse) else max(_gpu_us(caps, x, purse, each) for each in x.plan)) for purse in x.caps]


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


def _more_gpu_us(caps: Caps, x: Exchange, purse: Purse, candidate: Candidate) -> int:
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
        if cheaper[0].model != x.plan[0].model:
            x.steered, x.steered_from = f"budget:{account.name}", x.steered_from or x.plan[0].model
        x.plan = cheaper
        x.reserved, x.worst_tokens = worst_case_of(gateway, x, x.plan)
        x.caps = caps.accounts.purses_of(x, x.plan)
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
    for candidate in x.plan if x.target is not None else ():
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
