"""What is booked for a request whose process died under it: the reservation as a whole, marked as an estimate."""

from typing import Final

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.dialects.usage import estimate_tokens
from penstock.domain.ledger.record import Reservation, UsageRecord, WastedWork

STATUS = 500
LIKELY_OUTPUT: Final = 250
"""Output tokens that an engine may have made for a request whose process died: about one chat answer. It shares out rent that is paid
anyway, and no cost or cap depends on it."""


def interrupted(reservation: Reservation) -> UsageRecord:
    """The record of a reservation that nothing followed. Always the same for the same reservation.

    Cost and tokens are the worst case, `estimated`; a worst case that was not known stays None, and its basis `unknown`. What an own
    fleet did for it is weighed at a likely size: at the worst case one crash would take most of an hour's rent.
    How long the request lived is not known either: its duration is left at the default.
    """
    cost, tokens = reservation.worst_case, reservation.worst_tokens
    return UsageRecord(
        id=reservation.id,
        admitted_ns=reservation.admitted_ns,
        endpoint=reservation.endpoint,
        status=STATUS,
        outcome="interrupted",
        requested_model=reservation.requested_model,
        model=reservation.model,
        tier=reservation.tier,
        sla=reservation.tags.get("sla"),
        upstream=reservation.upstream,
        fleet=reservation.fleet,
        model_version=reservation.model_version,
        optimization=reservation.optimization,
        gpu=reservation.gpu,
        instance=reservation.instance,
        region=reservation.region,
        tags=reservation.tags,
        key_id=reservation.key_id,
        streamed=reservation.streamed,
        traceparent=reservation.traceparent,
        error="the process that held this request ended before the answer did",
        tokens=NO_TOKENS if tokens is None else tokens,
        tokens_basis="unknown" if tokens is None else "estimated",
        cost=cost,
        cost_basis="unknown" if cost is None else "estimated",
        reserved=cost,
        writer=reservation.writer,
        steered=reservation.steered,
        steered_from=reservation.steered_from,
        purpose=reservation.purpose,
        parent=reservation.parent,
        wasted_work=() if reservation.fleet is None else (WastedWork(reservation.fleet, _likely(reservation)),),
    )


def _likely(reservation: Reservation) -> Tokens:
    """The bound of the input is one token per byte; the output is a usual one, within its bound."""
    most = reservation.worst_tokens
    if most is None:
        return Tokens(0, 0, 0, 0 if reservation.endpoint == "embeddings" else LIKELY_OUTPUT, 0)
    return Tokens(estimate_tokens(most.input), 0, 0, min(most.output, LIKELY_OUTPUT), 0)
