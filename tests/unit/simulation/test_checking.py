"""Columns into a trace: what is refused, with its rows, and what is put right and said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from penstock.domain.simulation.checking import PrefixBlocks, checked, first_requests
from penstock.domain.simulation.shape import shape, shape_words, shared_tokens
from penstock.domain.simulation.trace import NO_BLOCKS, Trace, TraceError


def floats(values: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, np.float64)


def of(arrival: ArrayLike, prompts: ArrayLike, answers: ArrayLike, drop_bad: bool = False, **given: object) -> tuple[Trace, list[str]]:
    notes: list[str] = []
    trace = checked(floats(arrival), floats(prompts), floats(answers), drop_bad=drop_bad, note=notes.append, **given)  # type: ignore[arg-type]
    return trace, notes


def test_clean_columns_become_a_trace_without_a_word() -> None:
    trace, notes = of([0, 1.5, 4], [10, 20, 30], [1, 2, 3])
    assert trace.arrival_s.tolist() == [0, 1.5, 4] and trace.input_tokens.tolist() == [10, 20, 30]
    assert trace.output_tokens.tolist() == [1, 2, 3] and trace.output_tokens.dtype == np.int64
    assert notes == []


def test_one_request_is_a_trace() -> None:
    trace, _ = of([0], [10], [1])
    assert (trace.requests, trace.duration_s) == (1, 0.0)
    assert shape(trace).rate_rps is None
    assert shape_words(shape(trace))[0] == "1 request in 0 s"


def test_no_row_is_no_trace() -> None:
    with pytest.raises(TraceError, match="no requests"):
        of([], [], [])


def test_without_output_lengths_nothing_is_guessed() -> None:
    with pytest.raises(TraceError, match="no output lengths") as caught:
        of([0, 1], [10, 20], [math.nan, math.nan], drop_bad=True)
    assert "not guessed" in caught.value.hint


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((math.nan, 1, 1), "the arrival is missing"),
        ((math.inf, 1, 1), "the arrival is infinite"),
        ((-3, 1, 1), "the arrival is negative: -3 s"),
        ((1e12, 1, 1), "the arrival is 3.17e+04 years after the begin: is the unit another one?"),
        ((1, math.nan, 1), "the input tokens are missing"),
        ((1, -7, 1), "the input tokens are negative: -7"),
        ((1, 0, 1), "the input tokens are 0"),
        ((1, 1e9, 1), "1,000,000,000 input tokens: no request has more than 100,000,000"),
        ((1, 12.5, 1), "the input tokens are not whole: 12.5"),
        ((1, 1, math.nan), "the output tokens are missing"),
        ((1, 1, 0), "the output tokens are 0"),
        ((1, 1, math.inf), "inf output tokens: no request has more than 100,000,000"),
    ],
)
def test_a_bad_row_is_named(row: tuple[float, float, float], words: str) -> None:
    arrival, prompts, answers = zip((0, 5, 5), row, (2, 6, 6), strict=True)
    with pytest.raises(TraceError, match="1 of 3 rows cannot be replayed") as caught:
        of(arrival, prompts, answers, rows=np.array([2, 3, 4]))
    assert [(each.number, each.problem) for each in caught.value.rows] == [(3, words)]
    assert f"row 3: {words}" in str(caught.value)


def test_bad_rows_are_left_out_when_that_is_asked_for() -> None:
    trace, notes = of([0, 1, 2], [10, 1e9, 30], [1, 2, 3], drop_bad=True)
    assert trace.input_tokens.tolist() == [10, 30]
    assert notes[0].startswith("1 of 3 rows cannot be replayed and are left out:\n  row 2: 1,000,000,000 input tokens")


def test_ten_rows_are_shown_and_the_others_counted() -> None:
    with pytest.raises(TraceError) as caught:
        of(range(40), [1] * 40, [0] * 37 + [1] * 3)
    assert [each.number for each in caught.value.rows] == list(range(1, 11))
    assert str(caught.value).startswith("37 of 40 rows") and str(caught.value).endswith("and 27 more")


def test_rows_that_the_reader_lost_count_and_are_named_in_order() -> None:
    with pytest.raises(TraceError, match="2 of 4 rows") as caught:
        of([0, 1, 2], [10, -1, 30], [1, 2, 3], rows=np.array([2, 4, 5]), unread={3: "7 columns instead of 3"})
    assert [(each.number, each.problem) for each in caught.value.rows] == [
        (3, "7 columns instead of 3"),
        (4, "the input tokens are negative: -1"),
    ]


def test_not_one_good_row_is_an_error_even_when_bad_ones_may_go() -> None:
    with pytest.raises(TraceError, match="not one row of 2 can be replayed"):
        of([-1, -2], [10, 10], [1, 1], drop_bad=True)


def test_rows_out_of_order_are_sorted_and_told() -> None:
    trace, notes = of([5, 0, 7, 6], [10, 20, 30, 40], [1, 2, 3, 4], rows=np.array([2, 3, 4, 5]))
    assert trace.arrival_s.tolist() == [0, 5, 6, 7] and trace.input_tokens.tolist() == [20, 10, 40, 30]
    assert notes == ["the rows are not in order of arrival: 2 rows come earlier than one before (first: row 3); they were sorted"]


def test_blocks_follow_their_requests_and_are_numbered_anew() -> None:
    prefix = PrefixBlocks(np.array([0, 2, 2, 5]), np.array([900, 77, 900, -4, 77]), 16)
    trace, _ = of([2, 0, 1], [32, 10, 48], [1, 1, 1], prefix=prefix)
    assert trace.block_tokens == 16
    assert trace.block_start.tolist() == [0, 0, 3, 5]
    assert trace.blocks.tolist() == [2, 0, 1, 2, 1]


def test_more_blocks_than_the_prompt_has_room_for_are_a_bad_row() -> None:
    with pytest.raises(TraceError, match="3 prefix blocks of 16 tokens are more than its prompt has"):
        of([0], [32], [1], prefix=PrefixBlocks(np.array([0, 3]), np.array([1, 2, 3]), 16))


def test_a_gap_far_longer_than_the_others_is_told_with_its_row() -> None:
    arrival = [*range(100), *range(10_000, 10_100)]
    trace, notes = of(arrival, [10] * 200, [1] * 200, rows=np.arange(2, 202))
    assert trace.requests == 200
    assert notes[0].startswith(
        "a gap is far longer than the others (99 % are within 1 s): the longest is of 9,901 s and ends at 10,000 s (row 102)"
    )


def test_a_late_first_request_is_such_a_gap() -> None:
    _, notes = of([7_200 + each for each in range(100)], [10] * 100, [1] * 100)
    assert "the longest is of 7,200 s and ends at 7,200 s (row 1)" in notes[0]


def test_a_file_written_twice_is_told() -> None:
    _, notes = of([0, 0, 1, 1], [10, 10, 20, 20], [1, 1, 2, 2])
    assert notes[0].startswith("2 of 4 rows are like another one in arrival and tokens (first: row 2)")


ROWS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 10**6), st.integers(1, 10**6)), min_size=1, max_size=40)


@given(ROWS)
def test_no_good_row_is_lost_or_changed(rows: list[tuple[float, int, int]]) -> None:
    arrival, prompts, answers = zip(*rows, strict=True)
    trace, _ = of(arrival, prompts, answers)
    found = zip(trace.arrival_s.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True)
    assert sorted(found) == sorted(rows)
    assert (np.diff(trace.arrival_s) >= 0).all()


def test_the_first_requests_of_a_trace() -> None:
    prefix = PrefixBlocks(np.array([0, 1, 2, 4]), np.array([0, 0, 0, 1]), 16)
    trace, _ = of([0, 1, 2], [20, 20, 40], [1, 2, 3], prefix=prefix)
    first = first_requests(trace, 2)
    assert first.input_tokens.tolist() == [20, 20] and first.block_start.tolist() == [0, 1, 2] and first.blocks.tolist() == [0, 0]
    assert first_requests(trace, 5) is trace


def test_the_shape_of_a_clock() -> None:
    trace, _ = of(np.arange(1, 3601), [100] * 3600, [10] * 1800 + [30] * 1800)
    found = shape(trace)
    assert (found.requests, found.duration_s, found.rate_rps) == (3600, 3600.0, 1.0)
    assert found.gap_cv == pytest.approx(0) and found.peak_to_mean == pytest.approx(1) and found.peak_window_s == 60
    assert (found.output_tokens.mean, found.output_tokens.p95, found.output_tokens.most) == (20, 30, 30)
    assert found.shared is None


def test_only_leading_blocks_that_came_before_are_shared() -> None:
    # a b c | a x c: c is the same tokens in the same place, but what is before it is not
    trace = Trace(
        floats([0, 1, 2, 3]),
        np.array([48, 48, 10, 32]),
        np.ones(4, np.int64),
        np.array([0, 3, 6, 6, 8]),
        np.array([0, 1, 2, 0, 3, 2, 0, 3]),
        16,
    )
    assert shared_tokens(trace).tolist() == [0, 16, 0, 31]
    assert shape(trace).shared == pytest.approx(47 / 138)


def test_without_blocks_nothing_is_shared() -> None:
    trace = Trace(floats([0]), np.array([10]), np.array([1]), np.array([0, 0]), NO_BLOCKS)
    assert shared_tokens(trace).tolist() == [0]
