"""Calls beside requests: they cost and work, but count as no request, and every dollar of them is in the sums exactly once."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.grouping import keys_of, matches
from penstock.domain.ledger.interrupted import interrupted
from penstock.domain.ledger.latency import latency_of
from penstock.domain.ledger.measures import (
    CostQuery,
    Sums,
    cp1kt_usd,
    is_cost_known,
    known_aside_cost,
    known_cost,
    lines,
    priced_lines,
    saved,
    sums_of,
    tokens_of,
    unpriced_lines,
)
from penstock.domain.ledger.record import UsageRecord, booked_of, is_aside
from tests.ledger_entries import RECORD, record, reservation

TOKENS = Tokens(100, 20, 3, 40, 5)
EVER = CostQuery(since_ns=0, until_ns=2**63 - 1)


def total(*records: UsageRecord) -> Sums:
    found = Sums()
    for each in records:
        found.add(sums_of(each))
    return found


def test_an_aside_is_in_every_sum_of_work_and_money_and_in_no_count_of_requests() -> None:
    shadow = record("s", purpose="shadow", parent="r", tokens=TOKENS, cost=7, list_cost=7, input_cost=3, counterfactual=99)
    assert sums_of(shadow) == Sums(
        uncached_input=100, cache_read=20, cache_write=3, visible_output=40, reasoning=5, priced_tokens=168, cost=7, compared_cost=7,
        split_input_cost=3, split_output_cost=4, split_input=123, split_output=45, asides=1, aside_cost=7,
    )  # fmt: skip
    refused = msgspec.structs.replace(shadow, outcome="refused")
    assert sums_of(refused) == Sums(), "nobody was called"
    failed = sums_of(msgspec.structs.replace(shadow, outcome="error"))
    assert (failed.failed, failed.asides, failed.cost) == (0, 1, 7)


def test_what_asides_cost_lowers_what_was_saved() -> None:
    answer = record("r", tokens=TOKENS, cost=10, counterfactual=100)
    draft = record("d", purpose="draft", parent="r", tokens=TOKENS, cost=4)
    both = total(answer, draft)
    assert (both.requests, both.asides, both.cost) == (1, 1, 14)
    assert saved(both) == 86
    assert saved(total(draft)) == -4
    assert cp1kt_usd(both.cost, both.priced_tokens) == cp1kt_usd(14, 2 * TOKENS.total)


def test_an_aside_without_a_price_is_unknown_and_never_free() -> None:
    unpriced = sums_of(record("s", purpose="shadow", parent="r", tokens=TOKENS))
    assert (unpriced.asides_unpriced, unpriced_lines(unpriced), known_cost(unpriced), known_aside_cost(unpriced)) == (1, 1, None, None)
    own = sums_of(record("s", purpose="shadow", parent="r", tokens=TOKENS, fleet="l40s"))
    assert (own.asides_unpriced, own.asides_unbooked, own.unbooked, own.unbooked_tokens) == (0, 1, 0, 168)
    assert not is_cost_known(own), "its hours tell"
    both = total(record("r", cost=5), record("s", purpose="shadow", parent="r"))
    assert (known_cost(both), unpriced_lines(both), lines(both), priced_lines(both)) == (5, 1, 2, 1)


def test_no_client_waited_for_an_aside() -> None:
    answered = record("r", duration_us=5_000, first_token_us=2_000)
    assert latency_of(answered).duration.total == 1
    assert latency_of(msgspec.structs.replace(answered, purpose="vote", parent="q")).duration.total == 0


def test_an_aside_whose_process_died_is_booked_as_one() -> None:
    found = interrupted(reservation("s", purpose="shadow", parent="r"))
    assert (found.purpose, found.parent) == ("shadow", "r")
    assert (sums_of(found).requests, sums_of(found).failed, sums_of(found).aside_cost) == (0, 0, 1_000)


@given(st.lists(RECORD, max_size=12))
def test_every_dollar_and_every_token_once(records: list[UsageRecord]) -> None:
    answered = [each for each in records if each.outcome != "refused"]
    asides = [each for each in answered if is_aside(each)]
    whole = total(*records)
    assert whole.cost == sum(booked_of(each) or 0 for each in answered)
    assert tokens_of(whole).total == sum(each.tokens.total for each in answered)
    assert whole.aside_cost == sum(each.cost or 0 for each in asides)
    assert (whole.requests, whole.asides) == (len(answered) - len(asides), len(asides))
    assert lines(whole) == priced_lines(whole) + unpriced_lines(whole) + whole.unbooked + whole.asides_unbooked
    assert priced_lines(whole) == sum(each.cost is not None for each in answered)
    alone = total(*(each for each in records if matches(each, msgspec.structs.replace(EVER, requests_alone=True))))
    assert (alone.requests, alone.refused, alone.asides) == (whole.requests, whole.refused, 0)
    assert alone.cost + sum(booked_of(each) or 0 for each in asides) == whole.cost
    by_purpose = [keys_of(each, ("purpose",))[0] for each in records]
    assert by_purpose == [each.purpose for each in records]
