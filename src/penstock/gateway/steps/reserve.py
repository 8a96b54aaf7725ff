"""What it may cost: the worst case of the plan is held against every hard cap, then written to the journal."""

from penstock.domain.ledger.record import Reservation
from penstock.gateway.bounds import rest_of, worst_case_of
from penstock.gateway.caps import draw, draw_aside, draw_more
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.metering import aside_cost
from penstock.gateway.refusal import Refusal
from penstock.gateway.routing.path import path_of
from penstock.gateway.steps.choose import passed_through
from penstock.gateway.targets import Candidate
from penstock.ports.journal import JournalError


async def reserve(gateway: Gateway, x: Exchange) -> bool:
    """Holds and journals the reservation before any upstream hears of the request. Raises `Refusal` (budget, input, limit)."""
    if not x.plan:
        x.plan = (passed_through(gateway, x),)
    if not x.costs_nothing:
        cost, x.worst_tokens = rest_of(gateway, x)
        x.reserved = None if cost is None else cost + aside_cost(x.asides)
        if gateway.caps is not None:
            await draw(gateway, gateway.caps, x)
    path = path_of(x)
    _journal(gateway, x, path.legs[0].candidates[0] if path is not None and path.legs else x.plan[0])
    return False


async def reserve_more(gateway: Gateway, x: Exchange, candidate: Candidate) -> bool:
    """Before a further try, after tries that may have cost something for nothing. False: a hard cap has no room for it."""
    if not x.held or not x.wasted or gateway.caps is None:
        return True
    before = x.reserved
    if not await draw_more(gateway, gateway.caps, x, candidate):
        return False
    if x.reserved != before and x.payer is None:
        _journal(gateway, x, candidate)
    elif x.payer is not None:
        _journal_aside(gateway, x.payer, x)
    return True


async def reserve_aside(gateway: Gateway, x: Exchange, child: Exchange) -> bool:
    """Holds, and journals, what a call made aside for `x` may cost beyond what is held for that already. False: a hard cap has no room
    for it. Raises `Refusal` (limit) when it cannot be journaled."""
    child.reserved, child.worst_tokens = worst_case_of(gateway, child, child.plan)
    before = x.reserved
    if gateway.caps is not None and not await draw_aside(gateway, gateway.caps, x, child):
        return False
    if x.reserved != before or x.journaled is None:
        _journal_aside(gateway, x, child)
    return True


def _journal_aside(gateway: Gateway, x: Exchange, child: Exchange) -> None:
    """The reservation of its request, as it stands now; one of its own where there is no request any more."""
    if x.purpose is not None:
        _journal(gateway, child, child.plan[0])
        return
    if x.journaled is None and (x.reserved is None or x.reserved < (child.reserved or 0)):
        x.reserved, x.worst_tokens = child.reserved, child.worst_tokens
    _journal(gateway, x, x.journaled or child.plan[0])


def reserve_for(gateway: Gateway, x: Exchange, candidate: Candidate) -> None:
    """Right before a candidate is asked: should this process die, it is booked on whom the journal names last. Raises `Refusal`."""
    if x.journaled is not None and x.journaled != candidate:
        _journal(gateway, x, candidate)


def _journal(gateway: Gateway, x: Exchange, candidate: Candidate) -> None:
    fleet = candidate.fleet
    reservation = Reservation(
        id=x.id,
        admitted_ns=x.admitted_ns,
        endpoint=x.endpoint,
        requested_model=x.asked_for,
        model=candidate.model if x.target is not None else None,
        upstream=candidate.upstream,
        worst_case=x.reserved,
        worst_tokens=x.worst_tokens,
        tier=candidate.tier,
        fleet=fleet.name if fleet is not None else None,
        model_version=candidate.version,
        optimization=candidate.optimization,
        gpu=fleet.gpu if fleet is not None else None,
        instance=fleet.instance if fleet is not None else None,
        region=fleet.region if fleet is not None else None,
        tags=x.tags,
        key_id=x.key_id,
        streamed=x.streamed,
        traceparent=x.heads.traceparent,
        writer=gateway.name,
        steered=x.steered,
        steered_from=x.steered_from,
        purpose=x.purpose,
        parent=x.parent,
    )
    try:
        gateway.journal.reserve(reservation)
        x.journaled = candidate
    except JournalError as error:
        gateway.counters.journal_failures += 1
        gateway.log(f"error: {error}")
        if gateway.settings.server.journal_failure == "refuse":
            raise unmetered(x) from None


def unmetered(x: Exchange) -> Refusal:
    """The refusal of work that could not be written down."""
    refusal = Refusal(
        503, "limit", "this gateway cannot meter requests at the moment", "Its journal is not writable; its operator has been told"
    )
    refusal.retry_after_s = 5
    return refusal
