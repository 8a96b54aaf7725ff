"""What a trace looks like: how fast and how evenly requests come, how long they are, and how much of their prompts they share."""

from typing import Final

import msgspec
import numpy as np

from penstock.domain.simulation.trace import Floats, Ints, Trace

_WINDOWS: Final = (1.0, 10.0, 60.0, 600.0, 3600.0)
_ENOUGH_WINDOWS: Final = 24
"""windows in a trace, for a peak to be one of many"""


class Lengths(msgspec.Struct, frozen=True):
    """Tokens of prompts, or of answers."""

    mean: float
    p50: float
    p95: float
    p99: float
    most: int


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a trace; None where there is too little of it to tell."""

    requests: int
    duration_s: float
    """from its begin to the last arrival"""
    rate_rps: float | None
    """mean"""
    peak_rps: float | None
    """of the fullest window of `peak_window_s`"""
    peak_window_s: float | None
    peak_to_mean: float | None
    gap_cv: float | None
    """standard deviation of the gaps between arrivals over their mean: 1 for a Poisson process of constant rate, more is burstier"""
    input_tokens: Lengths
    output_tokens: Lengths
    shared: float | None
    """share of all prompt tokens that a prefix cache without limits would find; None: nothing is known of prefixes"""


def shape(trace: Trace) -> Shape:
    """Raises nothing for a trace of `checked`, which has one request or more."""
    duration = trace.duration_s
    rate = trace.requests / duration if duration > 0 else None
    window = next((each for each in reversed(_WINDOWS) if duration >= _ENOUGH_WINDOWS * each), None)
    peak = None
    if window is not None:
        # the rest of a window at the end would count as a slow one, never as a peak
        peak = float(np.bincount((trace.arrival_s // window).astype(np.int64)).max()) / window
    gaps = np.diff(trace.arrival_s)
    return Shape(
        requests=trace.requests,
        duration_s=duration,
        rate_rps=rate,
        peak_rps=peak,
        peak_window_s=window,
        peak_to_mean=peak / rate if peak is not None and rate is not None else None,
        gap_cv=float(gaps.std() / gaps.mean()) if len(gaps) > 1 and gaps.mean() > 0 else None,
        input_tokens=_lengths(trace.input_tokens),
        output_tokens=_lengths(trace.output_tokens),
        shared=float(shared_tokens(trace).sum() / trace.input_tokens.sum()) if len(trace.block_start) else None,
    )


def shape_words(of: Shape) -> list[str]:
    """Lines for people."""
    pace = f", {of.rate_rps:,.3g} requests/s" if of.rate_rps is not None else ""
    lines = [f"{of.requests:,} {'request' if of.requests == 1 else 'requests'} in {_time(of.duration_s)}{pace}"]
    if of.peak_to_mean is not None:
        lines.append(f"peak {of.peak_rps:,.3g} requests/s over {_time(of.peak_window_s or 0)}: {of.peak_to_mean:.3g} times the mean")
    if of.gap_cv is not None:
        lines.append(f"gaps between arrivals vary by {of.gap_cv:.2f} (1: evenly random)")
    lines += [f"prompts: {_lengths_words(of.input_tokens)}", f"answers: {_lengths_words(of.output_tokens)}"]
    if of.shared is not None:
        lines.append(f"{100 * of.shared:.0f} % of prompt tokens were in an earlier prompt")
    return lines


def shared_tokens(trace: Trace) -> Ints:
    """Of each request, prompt tokens that a prefix cache without limits would find: those of the leading blocks that came before.

    At least one token of a prompt is always computed.
    """
    found = np.zeros(trace.requests, np.int64)
    if not len(trace.blocks):
        return found
    counts = np.diff(trace.block_start)
    new = np.zeros(len(trace.blocks), bool)
    first = np.empty(int(trace.blocks.max()) + 1, np.int64)
    # backwards, so that what stays of an id is its first place
    first[trace.blocks[::-1]] = np.arange(len(trace.blocks) - 1, -1, -1)
    new[first[trace.blocks] == np.arange(len(trace.blocks))] = True
    within = np.arange(len(trace.blocks)) - np.repeat(trace.block_start[:-1], counts)
    some = np.nonzero(counts)[0]
    first_new = np.minimum.reduceat(np.where(new, within, np.repeat(counts, counts)), trace.block_start[some])
    found[some] = np.minimum(first_new * trace.block_tokens, trace.input_tokens[some] - 1)
    return found


def _lengths(tokens: Ints | Floats) -> Lengths:
    p50, p95, p99 = (float(each) for each in np.percentile(tokens, (50, 95, 99)))
    return Lengths(float(tokens.mean()), p50, p95, p99, int(tokens.max()))


def _lengths_words(of: Lengths) -> str:
    return f"{of.mean:,.0f} tokens on average, P50 {of.p50:,.0f}, P95 {of.p95:,.0f}, most {of.most:,}"


def _time(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit or (unit < 86_400 and seconds >= unit):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"
