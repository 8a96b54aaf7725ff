"""Traffic that is made: arrivals of a renewal process whose pace follows a rate, lengths, and conversations that grow."""

from typing import Final

import numpy as np

from penstock.domain.simulation.trace import NO_BLOCKS, Floats, Ints, Trace, TraceError
from penstock.domain.simulation.traffic import MOST_REQUESTS, Lengths, Traffic

_GRID_S: Final = 60.0
"""between two points at which a daily cycle is taken"""
_RUN_IN: Final = 6.0
"""mean lengths of a conversation that go before the begin, so that the first hour has as many running as any other"""
MOST_BLOCKS: Final = 4 * 10**7
"""three times 8 bytes each while they are made"""


def synthetic(traffic: Traffic, seed: int) -> Trace:
    """The same trace for the same seed, whatever the machine.

    Raises `TraceError` when no request comes, or too many blocks would.
    """
    rng = np.random.default_rng(seed)
    if traffic.turns > 1:
        return _conversations(traffic, rng)
    at, rate = _rate(traffic, 0.0)
    arrival = arrivals(at, rate, traffic.cv, rng)
    _require(arrival, traffic)
    added, output = drawn((traffic.input, traffic.output), len(arrival), rng)
    trace = Trace(arrival, added + traffic.system_tokens, output)
    return _with_blocks(trace, np.arange(len(arrival)), traffic) if traffic.system_tokens else trace


def arrivals(at_s: Floats, rate_rps: Floats, cv: float, rng: np.random.Generator) -> Floats:
    """Arrivals of a renewal process with gaps of this coefficient of variation, its time stretched so that the rate is `rate_rps[i]` from
    `at_s[i]` to `at_s[i + 1]` (one more point than rates): Poisson of that rate where `cv` is 1, a Gamma renewal process elsewhere, a
    clock for 0."""
    expected = np.concatenate(([0.0], np.cumsum(rate_rps * np.diff(at_s))))
    whole = float(expected[-1])
    # enough gaps to pass the end, but for one trace in a million; the loop is for that one
    beat = np.zeros(0)
    while not len(beat) or beat[-1] < whole:
        more = int(whole - (beat[-1] if len(beat) else 0.0) + 6 * max(cv, 0.1) * np.sqrt(whole) + 16)
        beat = np.concatenate((beat, (beat[-1] if len(beat) else 0.0) + np.cumsum(_gaps(cv, more, rng))))
    beat = beat[beat < whole]
    # where the rate is 0 many times have one beat: the pieces are stretched one by one
    piece = np.searchsorted(expected, beat, side="right") - 1
    stretched: Floats = at_s[piece] + (beat - expected[piece]) / rate_rps[piece]
    return stretched


def drawn(lengths: tuple[Lengths, Lengths], count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Tokens of the prompts and the answers of so many requests, 1 or more each."""
    return _lognormal(lengths[0], count, rng), _lognormal(lengths[1], count, rng)


def _lognormal(lengths: Lengths, count: int, rng: np.random.Generator) -> Ints:
    if lengths.p95 is None:
        return np.full(count, max(1, round(lengths.mean)), np.int64)
    centre = np.log(lengths.mean) - lengths.spread**2 / 2
    return np.maximum(1, np.rint(rng.lognormal(centre, lengths.spread, count))).astype(np.int64)


def _gaps(cv: float, count: int, rng: np.random.Generator) -> Floats:
    if cv == 0:
        return np.ones(count)
    return rng.gamma(1 / cv**2, cv**2, count)


def _rate(traffic: Traffic, begin_s: float) -> tuple[Floats, Floats]:
    """Points of time from `begin_s` on, and the rate between them."""
    end = traffic.duration_s
    if traffic.steps:
        inner = [at for at, _ in traffic.steps if begin_s < at < end]
        at = np.array([begin_s, *inner, end])
        known = np.array([0.0, *(rps for _, rps in traffic.steps)])
        # before the begin it was as at the begin
        return at, known[np.searchsorted([each for each, _ in traffic.steps], np.maximum(at[:-1], 0.0), side="right")]
    if not traffic.swing:
        return np.array([begin_s, end]), np.array([traffic.rps])
    at = np.append(np.arange(begin_s, end, _GRID_S), end)
    phase = 2 * np.pi * ((at[:-1] + np.diff(at) / 2) / 86_400 - traffic.peak_hour / 24)
    return at, traffic.rps * (1 + traffic.swing * np.cos(phase))


def _conversations(traffic: Traffic, rng: np.random.Generator) -> Trace:
    run_in = _RUN_IN * traffic.turns * traffic.think_s
    if (traffic.requests * (1 + run_in / traffic.duration_s)) > MOST_REQUESTS:
        hint = "make `think` or `turns` smaller, or the traffic longer at a lower rate"
        raise TraceError("too many conversations would have to be made before the begin", hint)
    at, rate = _rate(traffic, -run_in)
    begin = arrivals(at, rate / traffic.turns, traffic.cv, rng)
    turns = rng.geometric(1 / traffic.turns, len(begin))
    first = np.concatenate(([0], np.cumsum(turns)))
    session, count = np.repeat(np.arange(len(begin)), turns), int(first[-1])
    think = rng.exponential(traffic.think_s, count)
    added, output = drawn((traffic.input, traffic.output), count, rng)
    opening = first[:-1]
    think[opening] = 0.0
    arrival = begin[session] + _running(think, opening, turns)
    said = _running(added + output, opening, turns)
    prompt = traffic.system_tokens + said - output
    fits = (prompt + output <= traffic.most_context) | (np.arange(count) == opening[session])
    kept = np.nonzero((arrival >= 0) & (arrival < traffic.duration_s) & fits)[0]
    kept = kept[np.argsort(arrival[kept], kind="stable")]
    _require(kept, traffic)
    trace = Trace(arrival[kept], prompt[kept].astype(np.int64), output[kept])
    return _with_blocks(trace, np.unique(session[kept], return_inverse=True)[1], traffic)


def _running(values: Floats | Ints, opening: Ints, turns: Ints) -> Floats:
    """Sums from the first request of each conversation on."""
    total = np.cumsum(values)
    return np.asarray(total - np.repeat(total[opening] - values[opening], turns), np.float64)


def _with_blocks(trace: Trace, session: Ints, traffic: Traffic) -> Trace:
    """Blocks of the system prompt are everybody's, the others of a conversation are its own; a block that is not full is not listed."""
    size = traffic.block_tokens
    counts = trace.input_tokens // size
    start = np.concatenate(([0], np.cumsum(counts)))
    if start[-1] > MOST_BLOCKS:
        raise TraceError(f"{start[-1]:,} blocks of prompts do not fit into memory", "make it shorter, or the prompts")
    within = np.arange(start[-1]) - np.repeat(start[:-1], counts)
    common = traffic.system_tokens // size
    longest = np.zeros(int(session.max()) + 1, np.int64)
    np.maximum.at(longest, session, np.maximum(counts - common, 0))
    own = common + np.concatenate(([0], np.cumsum(longest)))[session]
    blocks = np.where(within < common, within, np.repeat(own, counts) + within - common)
    return trace._replace(block_start=start, blocks=blocks if len(blocks) else NO_BLOCKS, block_tokens=size)


def _require(found: Floats | Ints, traffic: Traffic) -> None:
    if not len(found):
        raise TraceError(f"no request comes: {traffic.requests:.3g} are expected", "make the rate higher, or the traffic longer")
