"""When a load test ends: the rules of SageMaker Inference Recommender, and those that a bill asks for.

Its `MaxInvocations` is a rate, requests per minute, not a number of requests; its latency limit is one percentile of whole answers
(`ModelLatencyThresholds`, P95); a load whose throughput no longer rises ends the test (`FlatInvocations`, default `Stop`). Source:
botocore 1.44.5, sagemaker/2017-07-24, RecommendationJobStoppingConditions.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from penstock.capacity.measuring.points import Point
from penstock.capacity.measuring.sample import Sample

Reason = Literal[
    "ladder climbed",
    "duration",
    "max requests",
    "max spend",
    "max invocations",
    "p95 limit",
    "flat",
    "errors",
    "rate limited",
    "overloaded",
]
FAILING: tuple[Reason, ...] = ("errors", "rate limited", "overloaded")
"""reasons that are the endpoint's fault: there are fewer points than were asked for"""
FLAT_GAIN = 0.05
"""a load that brings less more throughput than this over the best before it has found the capacity"""
MOST_ERRORS = 0.1
"""share of failed or throttled requests above which a heavier load tells nothing"""


class Spend(msgspec.Struct, frozen=True):
    """What tokens cost, and how much may be spent."""

    limit_usd: Fraction
    usd_per_input: Fraction
    usd_per_output: Fraction

    def cost(self, input_tokens: int, output_tokens: int) -> Fraction:
        return self.usd_per_input * input_tokens + self.usd_per_output * output_tokens


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What ends the test; None: this does not."""

    duration_s: float
    """of the whole test"""
    max_invocations: float | None = None
    """complete requests per minute at which no heavier load is tried"""
    p95_ms: float | None = None
    """P95 of whole answers above which no heavier load is tried"""
    max_requests: int | None = None
    """sent in all"""
    spend: Spend | None = None
    stop_when_flat: bool = True


class Meter:
    """What a test has used so far: requests and money, those in flight at their most."""

    def __init__(self, limits: Limits, output_tokens: int) -> None:
        self._limits = limits
        self._output_tokens = output_tokens
        self.sent = 0
        self.spent_usd = Fraction(0)
        self._held_usd = Fraction(0)

    def admit(self, input_tokens: int) -> Reason | None:
        """Counts one more request of about so many input tokens; a reason: it must not be sent."""
        limits = self._limits
        if limits.max_requests is not None and self.sent >= limits.max_requests:
            return "max requests"
        if limits.spend is not None:
            most = limits.spend.cost(input_tokens, self._output_tokens)
            if self.spent_usd + self._held_usd + most > limits.spend.limit_usd:
                return "max spend"
            self._held_usd += most
        self.sent += 1
        return None

    def settle(self, input_tokens: int, sample: Sample | None) -> None:
        """A request that was admitted has ended. One that was given up (None) may be billed whole; one that failed is not."""
        spend = self._limits.spend
        if spend is None:
            return
        most = spend.cost(input_tokens, self._output_tokens)
        self._held_usd -= most
        self.spent_usd += most if sample is None else spend.cost(sample.input_tokens, sample.output_tokens)


def after(points: Sequence[Point], limits: Limits) -> Reason | None:
    """Why no heavier load is worth trying after these points, the last of which is new; None: go on."""
    last = points[-1]
    tried = last.requests + last.failed + last.throttled
    if last.throttled > MOST_ERRORS * tried:
        return "rate limited"
    if last.failed > MOST_ERRORS * tried:
        return "errors"
    if limits.p95_ms is not None and last.e2e_ms.p95 > limits.p95_ms:
        return "p95 limit"
    if limits.max_invocations is not None and last.requests_per_minute >= limits.max_invocations:
        return "max invocations"
    before = [each.output_tokens_per_s for each in points[:-1] if each.concurrency is not None]
    if limits.stop_when_flat and before and last.concurrency is not None and last.output_tokens_per_s < (1 + FLAT_GAIN) * max(before):
        return "flat"
    return None
