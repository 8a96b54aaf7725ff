"""Records of the ledger into a trace, and what they tell of caching and tiers."""

from collections.abc import Iterable
from typing import Any

import pytest

from penstock.capacity.traces.ledger import LedgerTrace, trace_from_ledger
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.simulation.trace import TraceError
from tests.ledger_entries import ADMITTED_NS, record

SECOND = 10**9
WORK = Tokens(100, 40, 10, 20, 5)


def asked(at_s: float, **fields: Any) -> UsageRecord:
    return record(f"req_{at_s}", admitted_ns=ADMITTED_NS + round(at_s * SECOND), **{"tokens": WORK, "tier": "small"} | fields)


def of(records: Iterable[UsageRecord], **given: Any) -> LedgerTrace:
    return trace_from_ledger(sorted(records, key=lambda each: -each.admitted_ns), **given)


def test_requests_come_as_they_came_with_all_their_tokens() -> None:
    found = of([asked(0), asked(2.5, tokens=Tokens(7, 0, 0, 3, 0)), asked(9, tier=None)])
    assert found.trace.arrival_s.tolist() == [0, 2.5, 9]
    assert found.trace.input_tokens.tolist() == [150, 7, 150], "what was read from a prefix cache is a part of the prompt"
    assert found.trace.output_tokens.tolist() == [25, 3, 25], "reasoning is a part of the answer"
    assert found.begin_ns == ADMITTED_NS
    assert found.measured.shares == {"small": pytest.approx(2 / 3), "none": pytest.approx(1 / 3)}
    assert found.notes == (
        "of those that models answered, by tier: small 67 %, none 33 %",
        "26 % of prompt tokens were read from a prefix cache; which prompts share them is not known, so a simulation computes all of them",
    )


def test_cache_hits_are_measured_and_reach_no_engine() -> None:
    hits = [asked(at, cache=kind, tokens=Tokens(), recalled=WORK) for at, kind in ((0, "exact"), (2, "semantic"), (3, "normalised"))]
    found = of([*hits, asked(1, tokens=Tokens(7, 0, 0, 3, 0))])
    assert found.trace.arrival_s.tolist() == [1], "second 0 is the first arrival, whatever answered it"
    assert (found.measured.requests, found.measured.hits, found.measured.hit_rate) == (4, 3, 0.75)
    assert found.notes == ("3 of 4 requests (75 %) were answered by the cache, so they are not in the trace",)


def test_calls_beside_requests_are_work_but_no_requests() -> None:
    found = of([asked(0, tokens=Tokens(7, 0, 0, 3, 0)), asked(1, purpose="draft", parent="req_0", tokens=Tokens(8, 0, 0, 2, 0))])
    assert found.trace.requests == 2
    assert (found.measured.requests, found.measured.asides, found.measured.tiers) == (1, 1, {"small": 1})
    assert found.notes == ("1 call made beside requests: in the trace, for engines worked for them",)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"outcome": "error"}, "1 record without an answer"),
        ({"outcome": "interrupted"}, "1 record without an answer"),
        ({"outcome": "client_closed", "tokens": Tokens(10, 0, 0, 0, 0)}, "1 record without an answer"),
        ({"tokens": Tokens()}, "1 record without token counts"),
        ({"tokens_basis": "unknown"}, "1 record without token counts"),
        ({"tokens": Tokens(10, 0, 0, 0, 0), "endpoint": "embeddings"}, "1 record without output tokens"),
    ],
)
def test_what_tells_no_lengths_is_left_out_and_said(fields: dict[str, Any], words: str) -> None:
    found = of([asked(0, tokens=Tokens(7, 0, 0, 3, 0)), asked(1, **fields)])
    assert found.trace.requests == 1 and found.measured.requests == 1
    assert len(found.notes) == 1 and found.notes[0].startswith(words)


def test_an_answer_that_the_client_left_was_work() -> None:
    assert of([asked(0, outcome="client_closed")]).trace.output_tokens.tolist() == [25]


def test_refusals_are_nothing() -> None:
    found = of([asked(0, outcome="refused", tokens=Tokens()), asked(5, tokens=Tokens(7, 0, 0, 3, 0))])
    assert found.trace.arrival_s.tolist() == [0] and found.measured.requests == 1 and found.notes == ()


def test_only_so_many_are_read_and_that_is_said() -> None:
    told: list[int] = []
    found = of((asked(at, tokens=Tokens(7, 0, 0, 3, 0)) for at in range(20_005)), most=20_000, progress=told.append)
    assert found.trace.requests == 20_000 and found.begin_ns == ADMITTED_NS + 5 * SECOND
    assert found.notes == ("only the newest 20,000 records of the window were read",)
    assert told == [10_000, 20_000]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "the ledger has no requests in this window"),
        ([asked(0, outcome="refused")], "of 1 record of this window none is a request to an engine: all were refused"),
        ([asked(0, cache="exact"), asked(1, tokens=Tokens())], "1 were answered by the cache; 1 without token counts"),
    ],
)
def test_a_window_without_work_says_what_there_was(records: list[UsageRecord], words: str) -> None:
    with pytest.raises(TraceError) as caught:
        of(records)
    assert words in str(caught.value) and "longer window" in caught.value.hint
