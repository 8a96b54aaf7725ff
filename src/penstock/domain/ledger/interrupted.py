"""What is booked for a request whose process died under it: the reservation as a whole, marked as an estimate."""

from penstock.domain.dialects.tokens import NO_TOKENS
from penstock.domain.ledger.record import Reservation, UsageRecord

STATUS = 500


def interrupted(reservation: Reservation) -> UsageRecord:
    """The record of a reservation that nothing followed. Always the same for the same reservation.

    Cost and tokens are the worst case, `estimated`; a worst case that was not known stays None, and its basis `unknown`.
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
    )
