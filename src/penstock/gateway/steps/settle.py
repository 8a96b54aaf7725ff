"""The end of every request: its record, on the journal before the client sees the end of its answer."""

import time

import msgspec

from penstock.domain.ledger.record import UsageRecord, is_unbooked
from penstock.gateway.caps import settle_caps
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.metering import Metered, meter
from penstock.ports.journal import JournalError

CLIENT_CLOSED = 499


def settle(gateway: Gateway, x: Exchange) -> tuple[UsageRecord, bool]:
    """Builds the record and journals it. False: the journal did not take it (the reservation on it still stands for it)."""
    record = record_of(gateway, x, meter(gateway, x))
    if x.held and record.cost is None and not is_unbooked(record):
        # under a hard cap what turns out to have no price is booked as what was held for it, never as 0
        record = msgspec.structs.replace(record, cost=x.reserved, cost_basis="estimated")
    written = _journal(gateway, record)
    if x.held and gateway.caps is not None:
        settle_caps(gateway, gateway.caps, x, record, written)
    if x.rated and gateway.rates is not None:
        gateway.rates.settle(x, record)
    return record, written


def _journal(gateway: Gateway, record: UsageRecord) -> bool:
    try:
        gateway.journal.append(record)
    except JournalError as error:
        gateway.counters.journal_failures += 1
        gateway.counters.unmetered += 1
        gateway.log(f"error: request {record.id} is not on the journal: {error}")
        return False
    return True


def record_of(gateway: Gateway, x: Exchange, metered: Metered) -> UsageRecord:
    """The immutable row of a request, whatever happened to it."""
    candidate, hit = x.candidate, x.hit
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
        attempts=tuple(x.attempts) if len(x.attempts) > 1 or x.outcome != "ok" else (),
        error=x.error,
        finish_reason=x.finish_reason,
        response_id=x.response_id,
        traceparent=x.heads.traceparent,
        tokens=metered.tokens,
        recalled=metered.recalled,
        tokens_basis=metered.tokens_basis,
        parts=metered.parts,
        processing=metered.processing,
        first_token_us=int((x.first_token_at - x.started_at) * 1e6) if x.first_token_at is not None else None,
        duration_us=int((time.perf_counter() - x.started_at) * 1e6),
        price_id=metered.price_id,
        price_version=metered.price_version,
        cost=metered.cost,
        list_cost=metered.list_cost,
        input_cost=metered.input_cost,
        provisional=metered.provisional,
        wasted_work=metered.wasted_work,
        wasted_cost=metered.wasted_cost,
        cost_basis=metered.cost_basis,
        counterfactual=metered.counterfactual,
        baseline=gateway.baseline,
        reserved=x.reserved,
        writer=gateway.name,
        steered=x.steered,
        steered_from=x.steered_from,
    )
