"""Columns of a file into a trace, or the rows that keep it from being one: nothing is guessed, and what was put right is said."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.domain.simulation.selecting import selected, taken
from penstock.domain.simulation.trace import Floats, Ints, Row, Trace, TraceError

MOST_S: Final = 10 * 366 * 86_400.0
"""of a trace: an arrival beyond ten years is of another unit"""
MOST_TOKENS: Final = 10**8
"""more of them in a request are a mistake of the file: the longest context windows are of 10^7"""
SHOWN: Final = 10
"""rows that are named"""
NO_OUTPUT: Final = "the trace has no output lengths"
NO_OUTPUT_HINT: Final = "how long an answer is decides what it costs, so it is not guessed: log the completion tokens of each request"
_BAD_HINT: Final = "correct the rows, or leave them out with --drop-bad"
_FEW: Final = 20
"""requests from which on something can be said of what is usual"""
_LONG_GAP_S: Final = 60.0
_LONG_GAP: Final = 20.0
"""times the gap that 99 % are shorter than"""
_TWICE: Final = 0.01
"""share of rows that may be like another one by chance: clocks of whole seconds make such rows"""


class PrefixBlocks(NamedTuple):
    """Of each row, the blocks that its prompt begins with, as in `Trace`; ids may be any numbers."""

    start: Ints
    ids: Ints
    tokens: int = 512


def checked(
    arrival_s: Floats,
    input_tokens: Floats,
    output_tokens: Floats,
    *,
    prefix: PrefixBlocks | None = None,
    rows: Ints | None = None,
    unread: Mapping[int, str] | None = None,
    drop_bad: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Trace:
    """A trace, sorted by arrival; `note` is told what was put right, and what looks odd. NaN is what is missing.

    `arrival_s` counts from the begin of the trace, so it is not negative. `rows`: numbers of the rows in their file, else 1, 2, ...
    `unread`: rows that the reader could not read, and why. Raises `TraceError` for an empty trace, for one without output lengths, and
    for bad rows unless `drop_bad`.
    """
    numbers = np.arange(1, len(arrival_s) + 1) if rows is None else rows
    unread = unread or {}
    if not len(arrival_s) and not unread:
        raise TraceError("the trace holds no requests", "at least one row is needed, below the heading")
    if not unread and np.isnan(output_tokens).all():
        raise TraceError(NO_OUTPUT, NO_OUTPUT_HINT)
    good = _good(_Columns(arrival_s, input_tokens, output_tokens, prefix), numbers, unread, drop_bad, note)
    order = good[np.argsort(arrival_s[good], kind="stable")]
    _tell_order(arrival_s[good], numbers[good], note)
    trace = Trace(arrival_s[order], input_tokens[order].astype(np.int64), output_tokens[order].astype(np.int64))
    if prefix is not None:
        start, ids = taken(prefix.start, prefix.ids, order)
        trace = trace._replace(block_start=start, blocks=np.unique(ids, return_inverse=True)[1], block_tokens=prefix.tokens)
    _tell_gaps(trace, numbers[order], note)
    _tell_twins(trace, numbers[order], note)
    return trace


def first_requests(trace: Trace, most: int) -> Trace:
    """The first so many."""
    return trace if trace.requests <= most else selected(trace, np.arange(most))


class _Columns(NamedTuple):
    arrival_s: Floats
    input_tokens: Floats
    output_tokens: Floats
    prefix: PrefixBlocks | None


def _good(columns: _Columns, numbers: Ints, unread: Mapping[int, str], drop_bad: bool, note: Callable[[str], None]) -> Ints:
    """Places of the rows that can be replayed."""
    problems = _problems(columns)
    bad = np.isin(numbers, np.fromiter(unread, np.int64))
    for mask, _ in problems:
        bad |= mask
    lost = len(unread) - int(np.isin(np.fromiter(unread, np.int64), numbers).sum())
    count, rows = int(bad.sum()) + lost, len(numbers) + lost
    if not count:
        return np.arange(len(numbers))
    first = _first(problems, numbers, unread, np.nonzero(bad)[0])
    told = _told(first, count)
    if bad.all():
        raise TraceError(f"not one row of {rows:,} can be replayed:{told}", "see what the columns hold, and in which unit", first)
    if not drop_bad:
        raise TraceError(f"{count:,} of {rows:,} rows cannot be replayed:{told}", _BAD_HINT, first)
    note(f"{count:,} of {rows:,} rows cannot be replayed and are left out:{told}")
    return np.nonzero(~bad)[0]


def _problems(columns: _Columns) -> list[tuple[NDArray[np.bool_], Callable[[int], str]]]:
    """What can be wrong: which rows have it, and its words for one of them."""
    arrival = columns.arrival_s
    found: list[tuple[NDArray[np.bool_], Callable[[int], str]]] = [
        (np.isnan(arrival), lambda at: "the arrival is missing"),
        (np.isinf(arrival), lambda at: "the arrival is infinite"),
        (arrival < 0, lambda at: f"the arrival is negative: {arrival[at]:g} s"),
        (arrival > MOST_S, lambda at: f"the arrival is {arrival[at] / 31_557_600:,.3g} years after the begin: is the unit another one?"),
    ]
    for name, tokens in (("input", columns.input_tokens), ("output", columns.output_tokens)):
        found += _token_problems(name, tokens)
    if (prefix := columns.prefix) is not None:
        counts, room = np.diff(prefix.start), np.ceil(np.nan_to_num(columns.input_tokens) / prefix.tokens)
        found.append((counts > room, lambda at: f"{counts[at]:,} prefix blocks of {prefix.tokens} tokens are more than its prompt has"))
    return found


def _token_problems(name: str, tokens: Floats) -> list[tuple[NDArray[np.bool_], Callable[[int], str]]]:
    return [
        (np.isnan(tokens), lambda at: f"the {name} tokens are missing"),
        (tokens < 0, lambda at: f"the {name} tokens are negative: {tokens[at]:.10g}"),
        (tokens == 0, lambda at: f"the {name} tokens are 0"),
        (tokens > MOST_TOKENS, lambda at: f"{tokens[at]:,.0f} {name} tokens: no request has more than {MOST_TOKENS:,}"),
        (tokens != np.floor(tokens), lambda at: f"the {name} tokens are not whole: {tokens[at]:.10g}"),
    ]


def _first(
    problems: list[tuple[NDArray[np.bool_], Callable[[int], str]]], numbers: Ints, unread: Mapping[int, str], places: Ints
) -> tuple[Row, ...]:
    """The first bad rows by number, each with the first thing that is wrong."""
    rows = dict(sorted(unread.items())[:SHOWN])
    for at in places[:SHOWN].tolist():
        number = int(numbers[at])
        if number not in unread:
            rows[number] = next(words(at) for mask, words in problems if mask[at])
    return tuple(Row(number, rows[number]) for number in sorted(rows)[:SHOWN])


def _told(rows: tuple[Row, ...], count: int) -> str:
    lines = [f"\n  row {row.number:,}: {row.problem}" for row in rows]
    return "".join(lines) + (f"\n  and {count - len(rows):,} more" if count > len(rows) else "")


def _tell_order(arrival_s: Floats, numbers: Ints, note: Callable[[str], None]) -> None:
    early = np.nonzero(arrival_s < np.maximum.accumulate(arrival_s))[0]
    if len(early):
        many = "1 row comes" if len(early) == 1 else f"{len(early):,} rows come"
        note(f"the rows are not in order of arrival: {many} earlier than one before (first: row {numbers[early[0]]:,}); they were sorted")


def _tell_gaps(trace: Trace, numbers: Ints, note: Callable[[str], None]) -> None:
    if trace.requests < _FEW:
        return
    gaps = np.diff(trace.arrival_s, prepend=0.0)
    usual = float(np.percentile(gaps, 99))
    long = np.nonzero(gaps > max(_LONG_GAP_S, _LONG_GAP * usual))[0]
    if len(long):
        longest = long[np.argmax(gaps[long])]
        many = "a gap is" if len(long) == 1 else f"{len(long):,} gaps are"
        note(
            f"{many} far longer than the others (99 % are within {usual:,.3g} s): the longest is of {gaps[longest]:,.0f} s and ends at "
            f"{trace.arrival_s[longest]:,.0f} s (row {numbers[longest]:,}); was there no request, or was none recorded?"
        )


def _tell_twins(trace: Trace, numbers: Ints, note: Callable[[str], None]) -> None:
    order = np.lexsort((trace.output_tokens, trace.input_tokens, trace.arrival_s))
    same = np.ones(max(trace.requests - 1, 0), bool)
    for column in (trace.arrival_s, trace.input_tokens, trace.output_tokens):
        same &= np.diff(column[order]) == 0
    count = int(same.sum())
    if count > _TWICE * trace.requests:
        first = int(numbers[order[1:][same]].min())
        note(
            f"{count:,} of {trace.requests:,} rows are like another one in arrival and tokens (first: row {first:,}); they are kept: "
            "remove them if the file was written twice"
        )
