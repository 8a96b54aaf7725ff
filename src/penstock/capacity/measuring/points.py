"""The points of a load test: what the endpoint did at one load, and how a load's requests become one.

Latencies are those of complete answers after the warm-up. Throughput is what came within the window in which the whole load was on: of
an answer that reaches beyond it, the part of its time inside counts, so neither the first wave nor the last bends the figure.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from penstock.capacity.measuring.sample import Sample


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds: mean and percentiles, interpolated between ranks."""

    mean: float
    p50: float
    p95: float
    p99: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what came of it."""

    concurrency: int | None = None
    """requests in flight, each replaced when it is done (a closed loop); None: requests came at a rate"""
    rate_per_minute: float | None = None
    """requests sent a minute, whatever became of the ones before"""
    input_tokens: float
    """mean of the complete answers, as the endpoint counts"""
    output_tokens: float
    requests: int
    """complete answers"""
    seconds: float
    """length of the window"""
    ttft_ms: Spread | None
    """to the first token; None: the endpoint does not stream"""
    tpot_ms: Spread | None
    """per output token after the first; None: no stream, or a single token"""
    e2e_ms: Spread
    output_tokens_per_s: float
    requests_per_minute: float
    errors: dict[str, int] = {}
    """requests that failed, by kind"""
    throttled: int = 0
    """refusals for the rate (status 429); each was tried again after the wait that was asked for"""
    cached_share: float = 0.0
    """of the input tokens, found in the prefix cache"""
    estimated: bool = False
    """tokens are estimates: the endpoint told no usage"""
    cut: bool = False
    """the test ended before the load had run its course"""
    burst: bool = False
    """the load lasted for a single wave of requests, all sent at once: the times to the first token are those of a burst"""
    lag_ms: float = 0.0
    """P95 of how late the load generator itself was: where it nears the TPOT, the machine that measures is too slow"""

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def load(self) -> str:
        """For people: `8 at once`, `60 a minute`."""
        return f"{self.concurrency} at once" if self.concurrency is not None else f"{self.rate_per_minute:g} a minute"


class Window(msgspec.Struct, frozen=True):
    """The time in which the whole load was on, seconds of the samples' clock."""

    start_s: float
    end_s: float
    cut: bool = False


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile of one value or more, linear between ranks."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def point(
    samples: Sequence[Sample],
    window: Window,
    *,
    concurrency: int | None = None,
    rate_per_minute: float | None = None,
    lags_s: Sequence[float] = (),
) -> Point | None:
    """The point of a load's samples; None where no answer was complete."""
    every = [sample for sample in samples if sample.failure is None]
    whole, steady = _steady(every, window)
    burst = steady is None
    window = steady or window
    e2e = _spread(sample.e2e_s for sample in whole)
    if e2e is None:
        return None
    seconds = max(window.end_s - window.start_s, 1e-9)
    entered = sum(sample.input_tokens for sample in whole)
    return Point(
        concurrency=concurrency,
        rate_per_minute=rate_per_minute,
        input_tokens=entered / len(whole),
        output_tokens=sum(sample.output_tokens for sample in whole) / len(whole),
        requests=len(whole),
        seconds=seconds,
        ttft_ms=_spread(sample.ttft_s for sample in whole),
        tpot_ms=_spread(sample.tpot_s for sample in whole),
        e2e_ms=e2e,
        output_tokens_per_s=sum(_tokens_within(sample, window) for sample in every) / seconds,
        requests_per_minute=60 * sum(_share(sample.due_s, sample.end_s, window) for sample in every) / seconds,
        errors=dict(Counter(sample.failure.kind for sample in samples if sample.failure is not None)),
        throttled=sum(sample.throttled for sample in samples),
        cached_share=sum(sample.cached_tokens for sample in whole) / entered if entered else 0.0,
        estimated=any(sample.estimated for sample in whole),
        cut=window.cut,
        burst=burst,
        lag_ms=1000 * percentile(lags_s, 0.95) if lags_s else 0.0,
    )


def _steady(every: Sequence[Sample], window: Window) -> tuple[Sequence[Sample], Window | None]:
    """What came after the first wave, and the time after it; all, and None, where that is less than half of an answer."""
    later = [sample for sample in every if not sample.warm_up]
    first_s = [sample.end_s for sample in every if sample.warm_up and sample.end_s < window.end_s]
    start_s = max([window.start_s, *first_s])
    if not later or window.end_s - start_s < sum(sample.e2e_s for sample in later) / len(later) / 2:
        return every, None
    return later, msgspec.structs.replace(window, start_s=start_s)


def _spread(seconds: Iterable[float | None]) -> Spread | None:
    known = [1000 * each for each in seconds if each is not None]
    if not known:
        return None
    return Spread(sum(known) / len(known), *(percentile(known, share) for share in (0.5, 0.95, 0.99)))


def _share(start_s: float, end_s: float, window: Window) -> float:
    """The share of a span of time that lies within the window."""
    if end_s <= start_s:
        return float(window.start_s <= start_s <= window.end_s)
    return max(0.0, min(end_s, window.end_s) - max(start_s, window.start_s)) / (end_s - start_s)


def _tokens_within(sample: Sample, window: Window) -> float:
    """Output tokens that came within the window: the first when it came, the others evenly until the last."""
    if sample.first_s is None or sample.last_s is None:
        return sample.output_tokens * _share(sample.due_s, sample.end_s, window)
    first = _share(sample.first_s, sample.first_s, window)
    return first + (sample.output_tokens - 1) * _share(sample.first_s, sample.last_s, window)
