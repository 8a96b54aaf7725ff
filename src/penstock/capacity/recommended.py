"""What a recommendation is made of: the requests to serve, and the row that says how a deployment does and what it costs."""

from fractions import Fraction
from typing import Literal

import msgspec

from penstock.domain.sizing.costs import Rent

Basis = Literal["measured", "imported", "predicted"]


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be served. `per_minute` None: one replica is filled as far as the objective lets it."""

    input_tokens: int
    output_tokens: int
    per_minute: float | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment on an instance at its best load. Money is exact; None: unknown."""

    basis: Basis
    gpu: str | None
    tensor_parallel: int | None
    format: str | None
    rent: Rent | None
    concurrency: int | None
    ttft_ms: float | None
    """at the objective's percentile, else the mean"""
    tpot_ms: float | None
    e2e_ms: float | None
    requests_per_minute: float
    """of one replica"""
    output_tokens_per_s: float | None
    usd_per_request: Fraction | None
    usd_per_million_output: Fraction | None
    usd_per_million_low: Fraction | None = None
    usd_per_million_high: Fraction | None = None
    """with the latencies at the ends of their 80 % bands"""
    replicas: int | None = None
    """that the demand needs; None: no demand was told"""
    instances: int | None = None
    usd_per_hour: Fraction | None = None
    """of the instances that the demand needs, else of one replica"""
    keeps: bool | None
    """the objective; None: what it asks for is not told"""
    sure: bool
    """measured, or kept at the upper end of the band too"""
    misses: tuple[str, ...] = ()
    """what is missed, by how much"""
    rank: int | None = None
    """by cost among the rows that keep the objective; None: it does not, or its cost is unknown"""
