"""A request that nothing followed is booked whole, as an estimate, and unknown stays unknown."""

import pytest
from hypothesis import given

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.interrupted import LIKELY_OUTPUT, interrupted
from penstock.domain.ledger.measures import sums_of
from penstock.domain.ledger.record import Reservation, WastedWork, own_tokens
from tests.ledger_entries import RESERVATION, reservation


@given(RESERVATION)
def test_the_reservation_is_booked_whole(held: Reservation) -> None:
    booked = interrupted(held)
    assert booked == interrupted(held)
    for name in (
        "id",
        "admitted_ns",
        "endpoint",
        "requested_model",
        "model",
        "tier",
        "upstream",
        "tags",
        "key_id",
        "streamed",
        "traceparent",
    ):
        assert getattr(booked, name) == getattr(held, name)
    assert (booked.cost, booked.reserved) == (held.worst_case, held.worst_case)
    assert booked.tokens == (held.worst_tokens or NO_TOKENS)
    assert booked.outcome == "interrupted"


def test_a_known_worst_case_counts_as_estimated() -> None:
    booked = interrupted(reservation("r", worst_case=7, worst_tokens=Tokens(3, 0, 0, 4, 0), tags={"sla": "critical"}))
    sums = sums_of(booked)
    assert (sums.requests, sums.failed, sums.priced, sums.estimated, sums.cost, sums.priced_tokens) == (1, 1, 1, 1, 7, 7)
    assert (booked.tokens_basis, booked.cost_basis, booked.sla) == ("estimated", "estimated", "critical")


def test_an_unknown_worst_case_stays_unknown() -> None:
    booked = interrupted(reservation("r", worst_case=None))
    assert (booked.cost, booked.cost_basis, booked.tokens_basis) == (None, "unknown", "unknown")
    assert sums_of(booked).priced == 0


@pytest.mark.parametrize(
    ("most", "likely"),
    [
        (Tokens(8_000, 0, 0, 32_000, 0), Tokens(2_000, 0, 0, LIKELY_OUTPUT, 0)),
        (Tokens(5, 0, 0, 16, 0), Tokens(2, 0, 0, 16, 0)),
        (Tokens(400, 0, 0, 0, 0), Tokens(100, 0, 0, 0, 0)),
        (None, Tokens(0, 0, 0, LIKELY_OUTPUT, 0)),
    ],
)
def test_own_fleets_are_weighed_at_a_likely_size(most: Tokens | None, likely: Tokens) -> None:
    booked = interrupted(reservation("r", fleet="gpus", worst_tokens=most))
    assert booked.wasted_work == (WastedWork("gpus", likely),)
    assert own_tokens(booked) == NO_TOKENS
    assert interrupted(reservation("r", worst_tokens=most)).wasted_work == ()


def test_embeddings_that_nothing_bounds_made_no_output() -> None:
    booked = interrupted(reservation("r", fleet="gpus", endpoint="embeddings", worst_case=None))
    assert booked.wasted_work == (WastedWork("gpus", NO_TOKENS),)
