"""How long answers took, as additive histograms over fixed bounds: quantiles of any window without a look at every record.

Quantiles are approximate: a value is known only to lie between two bounds, each about 1.41 times the one before.
"""

from bisect import bisect_left

import msgspec

from penstock.domain.ledger.record import UsageRecord, is_aside

BOUNDS_US: tuple[int, ...] = (*(round(1000 * 2 ** (step / 2)) for step in range(39)), 600_000_000)
"""upper bounds (included) of the buckets in microseconds, 1 ms to 10 min; one more bucket has no upper bound"""


class Histogram(msgspec.Struct):
    """Counts by bucket of `BOUNDS_US`."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))

    @property
    def total(self) -> int:
        return sum(self.counts)

    def add(self, other: "Histogram") -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]

    def quantile(self, p: float) -> float | None:
        """Seconds within which the share `p` (0 to 1) of the values lies, linear inside a bucket; None of nothing.

        Approximate. What lies beyond the last bound counts as that bound: read 600 s as "10 minutes or more".
        """
        total = self.total
        if not total:
            return None
        wanted, below = p * total, 0
        for bucket, count in enumerate(self.counts[:-1]):
            if count and below + count >= wanted:
                lower = BOUNDS_US[bucket - 1] if bucket else 0
                return (lower + (BOUNDS_US[bucket] - lower) * max(wanted - below, 0) / count) / 1e6
            below += count
        return BOUNDS_US[-1] / 1e6


class Latency(msgspec.Struct):
    """Times of answers that went well (outcome `ok`): to the first token where it is known, and to the end."""

    first_token: Histogram = msgspec.field(default_factory=Histogram)
    duration: Histogram = msgspec.field(default_factory=Histogram)

    def add(self, other: "Latency") -> None:
        self.first_token.add(other.first_token)
        self.duration.add(other.duration)


def bucket_of(microseconds: int) -> int:
    """The index of the bucket that holds a value."""
    return bisect_left(BOUNDS_US, microseconds)


def latency_of(record: UsageRecord) -> Latency:
    """One record as histograms; nothing is counted unless its outcome is `ok`, nor of what no client waited for."""
    latency = Latency()
    if record.outcome == "ok" and not is_aside(record):
        latency.duration.counts[bucket_of(record.duration_us)] += 1
        if record.first_token_us is not None:
            latency.first_token.counts[bucket_of(record.first_token_us)] += 1
    return latency
