"""The end of every request: its record, on the journal before the client sees the end of its answer."""

import time
from collections.abc import Sequence

import msgspec

from penstock.domain.ledger.record import UsageRecord, is_unbooked
from penstock.gateway.caps import settle_caps
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.metering import Metered, aside_cost, meter
from penstock.gateway.purses import Held
from penstock.ports.journal import JournalError

CLIENT_CLOSED = 499


def settle(gateway: Gateway, x: Exchange) -> tuple[UsageRecord, bool]:
    """Builds the record and journals it. False: the journal did not take it (the reservation on it still stands for it)."""
    for child in tuple(x.helpers):
        book_aside(gateway, x, child)
    record = _priced(x, record_of(gateway, x, meter(gateway, x)), aside_cost(x.asides))
    written = _journal(gateway, *x.asides, record)
    if x.embedding_held:
        x.held = _together(x.held, x.embedding_held)
    if x.held and gateway.caps is not None:
        settle_caps(gateway, gateway.caps, x, record, written)
    if x.rated and gateway.rates is not None:
        gateway.rates.settle(x, record)
    return record, written


def settle_asides(gateway: Gateway, x: Exchange) -> bool:
    """Journals the lines of calls that were made when their request had ended, the last one with what was observed, and gives back what
    was held for them. False: the journal did not take them all."""
    lines = list(x.asides)
    if x.observed is not None:
        last = lines.pop() if lines else msgspec.structs.replace(record_of(gateway, x, meter(gateway, x)), counterfactual=0)
        lines.append(msgspec.structs.replace(last, observed=x.observed))
    written = _journal(gateway, *lines)
    if x.held and gateway.caps is not None:
        settle_caps(gateway, gateway.caps, x, None, written)
    return written


def book_aside(gateway: Gateway, x: Exchange, child: Exchange) -> UsageRecord | None:
    """The line of a call made aside, which is journaled with the record of its request; None where nobody worked for it."""
    x.helpers.remove(child)
    if not (child.worked or child.wasted) and child.journaled is None:
        return None
    record = _priced(child, record_of(gateway, child, meter(gateway, child)))
    record = msgspec.structs.replace(record, counterfactual=0, reserved=child.reserved if child.journaled is not None else None)
    x.asides.append(record)
    x.booked.append(child)
    child.payer = None  # each holding the other, both would stay in memory until garbage is looked for
    return record


def _priced(x: Exchange, record: UsageRecord, aside: int = 0) -> UsageRecord:
    """Under a hard cap what turns out to have no price is booked as what was held for it, never as 0. `aside`: what of that was spent
    on other calls."""
    if not x.held or record.cost is not None or is_unbooked(record):
        return record
    return msgspec.structs.replace(record, cost=None if x.reserved is None else max(0, x.reserved - aside), cost_basis="estimated")


def _together(held: Sequence[Held], more: Sequence[Held]) -> list[Held]:
    """What is held for the call and for the look-up before it, purse by purse."""
    added = dict(held)
    for purse, amount in more:
        added[purse] = added.get(purse, 0) + amount
    return list(added.items())


def _journal(gateway: Gateway, *records: UsageRecord) -> bool:
    """Journals all of these that it takes."""
    written = True
    for record in records:
        try:
            gateway.journal.append(record)
        except JournalError as error:
            gateway.counters.journal_failures += 1
            gateway.counters.unmetered += 1
            gateway.log(f"error: request {record.id} is not on the journal: {error}")
            written = False
    return written


def record_of(gateway: Gateway, x: Exchange, metered: Metered) -> UsageRecord:
    """The immutable row of a request, whatever happened to it."""
    candidate, hit = x.candidate, x.hit
    ended_at = time.perf_counter() if x.ended_at is None else x.ended_at
    fleet = candidate.fleet if candidate is not None else None
    return UsageRecord(
        id=x.id,
        admitted_ns=x.admitted_ns,
        endpoint=x.endpoint,
        status=x.status,
        outcome=x.outcome,
        requested_model=x.asked_for,
        model=candidate.model if candidate is not None and x.target is not None else None,
        response_model=x.response_model,
        model_version=candidate.version if candidate is not None else None,
        optimization=candidate.optimization if candidate is not None else None,
        tier=candidate.tier if candidate is not None else None,
        sla=x.sla,
        upstream=candidate.upstream if candidate is not None else None,
        upstream_endpoint=x.called_at,
        replica=x.replica,
        fleet=fleet.name if fleet is not None else None,
        gpu=fleet.gpu if fleet is not None else None,
        instance=fleet.instance if fleet is not None else None,
        region=fleet.region if fleet is not None else None,
        tags=x.tags,
        key_id=x.key_id,
        streamed=x.streamed,
        cache=x.cache,
        cache_source=hit.request_id if hit is not None else None,
        route=">".join(x.route) if x.route else None,
        strategy=x.target.strategy if x.target is not None else None,
        complexity=x.complexity,
        attempts=tuple(x.attempts) if len(x.attempts) > 1 or x.outcome != "ok" or hit is not None else (),
        error=x.error,
        finish_reason=x.finish_reason,
        response_id=x.response_id,
        traceparent=x.heads.traceparent,
        tokens=metered.tokens,
        recalled=metered.recalled,
        tokens_basis=metered.tokens_basis,
        parts=metered.parts, processing=metered.processing,
        first_token_us=int((x.first_token_at - x.started_at) * 1e6) if x.first_token_at is not None else None,
        duration_us=int((ended_at - x.started_at) * 1e6),
        price_id=metered.price_id, price_version=metered.price_version,
        cost=metered.cost,
        list_cost=metered.list_cost,
        input_cost=metered.input_cost,
        provisional=metered.provisional,
        wasted_work=metered.wasted_work, wasted_cost=metered.wasted_cost,
        cost_basis=metered.cost_basis,
        counterfactual=metered.counterfactual,
        baseline=gateway.baseline,
        reserved=x.reserved,
        writer=gateway.name,
        steered=x.steered, steered_from=x.steered_from,
        purpose=x.purpose, parent=x.parent, route_decision=x.decision, observed=x.observed,
        cache_decision=x.cache_decision, would_cache=x.would_cache, embedding_cost=x.embedding_cost,
    )  # fmt: skip
