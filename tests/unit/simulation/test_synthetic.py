"""Made traffic has the pace, the lengths and the conversations that it was asked for, and is the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.simulation.expanding import Expansion, RateTable, expand, parse_expansion
from penstock.domain.simulation.shape import shape, shared_tokens
from penstock.domain.simulation.synthetic import arrivals, synthetic
from penstock.domain.simulation.trace import TraceError
from penstock.domain.simulation.traffic import Lengths, Traffic, parse_traffic

FIXED = Lengths(100)


def test_the_same_seed_makes_the_same_trace_and_another_one_another() -> None:
    traffic = parse_traffic("rps=2,hours=1,turns=3,system=300")
    one, same, other = synthetic(traffic, 7), synthetic(traffic, 7), synthetic(traffic, 8)
    assert all(np.array_equal(mine, its) for mine, its in zip(one[:5], same[:5], strict=True))
    assert not np.array_equal(one.arrival_s, other.arrival_s)


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_arrivals_have_the_rate_and_the_burstiness(cv: float) -> None:
    found = shape(synthetic(Traffic(duration_s=50_000, rps=1, cv=cv, input=FIXED, output=FIXED), 1))
    assert found.rate_rps == pytest.approx(1, rel=0.05)
    assert found.gap_cv == pytest.approx(cv, rel=0.06)


def test_a_clock_beats_evenly() -> None:
    trace = synthetic(Traffic(duration_s=10, rps=2, cv=0, input=FIXED, output=FIXED), 1)
    assert trace.arrival_s.tolist() == pytest.approx(np.arange(0.5, 10, 0.5))


def test_lengths_have_the_mean_and_the_percentile() -> None:
    found = shape(synthetic(parse_traffic("rps=20,hours=1,input=800:2400,output=200"), 1))
    assert found.input_tokens.mean == pytest.approx(800, rel=0.02) and found.input_tokens.p95 == pytest.approx(2400, rel=0.03)
    assert (found.output_tokens.mean, found.output_tokens.most) == (200, 200)


def test_a_daily_cycle_peaks_at_its_hour() -> None:
    trace = synthetic(Traffic(duration_s=86_400, rps=2, swing=0.9, peak_hour=14, input=FIXED, output=FIXED), 3)
    by_hour = np.bincount((trace.arrival_s // 3600).astype(int), minlength=24)
    assert int(by_hour.argmax()) in (12, 13, 14, 15)
    assert by_hour[13:15].sum() / 2 == pytest.approx(2 * 3600 * 1.9, rel=0.03)
    assert by_hour[1:3].sum() / 2 == pytest.approx(2 * 3600 * 0.1, rel=0.15)


def test_steps_of_the_rate_are_kept_and_silence_is_silent() -> None:
    trace = synthetic(parse_traffic("steps=0h:1;1h:0;2h:4,hours=3"), 1)
    by_hour = np.bincount((trace.arrival_s // 3600).astype(int), minlength=3)
    assert by_hour[1] == 0
    assert by_hour[0] == pytest.approx(3600, rel=0.06) and by_hour[2] == pytest.approx(14_400, rel=0.03)


RATES = st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 20)), min_size=1, max_size=6)


@settings(max_examples=50)
@given(RATES, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.integers(0, 100))
def test_arrivals_lie_in_order_within_the_pieces_that_have_a_rate(pieces: list[tuple[float, float]], cv: float, seed: int) -> None:
    at = np.concatenate(([0.0], np.cumsum([length for length, _ in pieces])))
    rates = np.array([rate for _, rate in pieces])
    found = arrivals(at, rates, cv, np.random.default_rng(seed))
    assert (np.diff(found) >= 0).all() and (found >= 0).all() and (found <= at[-1]).all()
    silent = rates[np.minimum(np.searchsorted(at, found, side="right") - 1, len(rates) - 1)] == 0
    on_an_edge = np.isin(found, at)
    assert not (silent & ~on_an_edge).any()


def test_conversations_grow_and_share_all_that_was_said_before() -> None:
    traffic = Traffic(duration_s=20_000, rps=1, turns=4, think_s=20, system_tokens=256, input=FIXED, output=FIXED, block_tokens=16)
    trace = synthetic(traffic, 1)
    assert trace.requests == pytest.approx(20_000, rel=0.05)
    # turn k has the system prompt, its own question and k - 1 questions and answers before it
    turn = (trace.input_tokens - 256 - 100) / 200 + 1
    assert (turn == np.floor(turn)).all()
    assert float(turn.mean()) == pytest.approx(4, rel=0.05), "of a geometric length of mean 4, the mean turn is 4"
    later = turn > 1
    shared = shared_tokens(trace)[later]
    before = 256 + 100 + 200 * (turn[later] - 2)
    # conversations that began before the trace are new to it: few
    assert float((shared >= before - 16).mean()) > 0.98
    assert (shared <= before + 200).all()


def test_the_first_hour_of_conversations_is_as_busy_as_the_last() -> None:
    trace = synthetic(Traffic(duration_s=36_000, rps=1, turns=5, think_s=300, input=FIXED, output=FIXED), 5)
    by_hour = np.bincount((trace.arrival_s // 3600).astype(int), minlength=10)
    assert by_hour[0] == pytest.approx(3600, rel=0.15) and by_hour[-1] == pytest.approx(3600, rel=0.15)


def test_conversations_end_where_the_context_does() -> None:
    trace = synthetic(Traffic(duration_s=5_000, rps=2, turns=20, think_s=5, input=FIXED, output=FIXED, most_context=1_000), 1)
    assert int((trace.input_tokens + trace.output_tokens).max()) == 1_000


def test_a_system_prompt_alone_is_shared_by_all() -> None:
    trace = synthetic(Traffic(duration_s=1_000, rps=1, system_tokens=1_024, input=FIXED, output=FIXED, block_tokens=128), 1)
    assert set(trace.input_tokens.tolist()) == {1_124}
    assert shared_tokens(trace).tolist() == [0] + [1_024] * (trace.requests - 1)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("rps=2", "how long the traffic lasts is not said", "hours=6"),
        ("rps=0,hours=1", "no request comes", "rate higher"),
        ("rps=2,hours=0", "`hours` of 0 is not possible", "above 0"),
        ("rps=-2,hours=1", "`rps` of -2", "from 0"),
        ("rps=two,hours=1", "`rps=two` is not a number", ""),
        ("rsp=2,hours=1", "`rsp` is not known", "did you mean `rps`?"),
        ("rps,hours=1", "`rps` is not KEY=VALUE", ""),
        ("rps=2,rps=3,hours=1", "given twice", ""),
        ("rps=2,duration=5 weeks", "is not a duration", "90m"),
        ("hours=1,input=800:100", "no lognormal has a mean of 800 tokens and 100", "between 800 and"),
        ("hours=1,input=800:9000", "no lognormal has a mean of 800 tokens and 9000", ""),
        ("hours=1,steps=1h:2;0h:1", "go backwards", ""),
        ("hours=100,rps=1000", "are more than 20,000,000", "shorter"),
        ("hours=20,rps=100,system=100000", "do not fit into memory", ""),
    ],
)
def test_what_cannot_be_made_says_why(text: str, words: str, hint: str) -> None:
    with pytest.raises(TraceError) as caught:
        synthetic(parse_traffic(text), 0)
    assert words in str(caught.value) and hint in caught.value.hint


TABLE = RateTable(np.array([1_200.0, 1_800.0, 2_400.0]), np.array([10.0, 0.0, 20.0]))


def test_a_table_of_rates_is_expanded_by_its_windows() -> None:
    trace = expand(TABLE, Expansion(FIXED, Lengths(50, 150), thin=0.5), 1)
    by_window = np.bincount((trace.arrival_s // 600).astype(int))
    assert by_window[0] == pytest.approx(3_000, rel=0.06) and by_window[1] == 0 and by_window[2] == pytest.approx(6_000, rel=0.05)
    assert set(trace.input_tokens.tolist()) == {100} and trace.output_tokens.mean() == pytest.approx(50, rel=0.03)


def test_an_expansion_as_text() -> None:
    assert parse_expansion("input=800:2400,output=200,thin=0.01,cv=2") == Expansion(Lengths(800, 2400), Lengths(200), 2, 0.01)


@pytest.mark.parametrize(
    ("table", "text", "words"),
    [
        (TABLE, "input=800", "output missing"),
        (TABLE, "input=800,output=2,thin=0", "`thin` has to be above 0"),
        (RateTable(TABLE.start_s[:1], TABLE.rate_rps[:1]), "input=1,output=1", "fewer than two windows"),
        (RateTable(TABLE.start_s[::-1], TABLE.rate_rps), "input=1,output=1", "not in order of time"),
        (RateTable(TABLE.start_s, -TABLE.rate_rps), "input=1,output=1", "negative"),
        (RateTable(TABLE.start_s, TABLE.rate_rps * 1e6), "input=1,output=1", "are more than 20,000,000"),
        (RateTable(TABLE.start_s, TABLE.rate_rps * 0), "input=1,output=1", "no request comes"),
    ],
)
def test_a_table_that_cannot_be_expanded_says_why(table: RateTable, text: str, words: str) -> None:
    with pytest.raises(TraceError) as caught:
        expand(table, parse_expansion(text), 0)
    assert words in str(caught.value)
