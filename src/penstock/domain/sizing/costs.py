"""What serving costs: the rent of devices over the requests that they serve. Exact; None is unknown, never 0.

A rent is charged in one of two ways. `whole`: an instance is paid whole, and its replicas share it, devices that no replica uses too.
`part`: a replica pays for its own devices, a slice of MIG for its part of the card; right only where others use the rest.
"""

from datetime import date
from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple

import msgspec

Charged = Literal["part", "whole"]
HOUR_MINUTES = 60
MINUTE_MS = 60_000
MILLION = 10**6
BILLION = 10**9


class Rent(msgspec.Struct, frozen=True, kw_only=True):
    """An instance at its list price."""

    provider: str
    instance: str
    gpus: int
    usd_per_hour: Fraction
    kind: str
    region: str
    date: date


class Costs(NamedTuple):
    """Of a deployment on instances that are paid whole."""

    per_request: Fraction | None
    per_hour: Fraction | None
    """of the instances that the demand needs, else of one replica"""
    replicas: int | None
    """that the demand needs; None: no demand was told"""
    instances: int | None


def replica_per_hour(usd_per_hour: Fraction, gpus: int, devices: int | Fraction, charged: Charged) -> Fraction:
    """What a replica on `devices` pays by the hour of an instance with `gpus`. A slice is a part of one device. Raises `ValueError`
    where the instance has too few."""
    if devices > gpus:
        raise ValueError(f"{devices} devices are more than the instance has, {gpus}")
    return usd_per_hour * devices / gpus if charged == "part" else usd_per_hour / (gpus // devices)


def whole_costs(rent: Rent | None, devices: int, requests_per_minute: float, wanted_per_minute: float | None = None) -> Costs:
    """Of instances paid whole, with replicas of `devices` that each serve so many requests; without a demand one full replica's.

    Of replicas that serve nothing everything is unknown.
    """
    if requests_per_minute <= 0:
        return Costs(None, None, None, None)
    replicas = None if wanted_per_minute is None else max(1, ceil(wanted_per_minute / requests_per_minute))
    if rent is None:
        return Costs(None, None, replicas, None)
    if replicas is None or wanted_per_minute is None:
        per_hour = replica_per_hour(rent.usd_per_hour, rent.gpus, devices, "whole")
        return Costs(per_request(per_hour, requests_per_minute), per_hour, None, None)
    instances = -(-replicas // (rent.gpus // devices))
    per_hour = rent.usd_per_hour * instances
    return Costs(per_request(per_hour, wanted_per_minute), per_hour, replicas, instances)


def request_ms(ttft_ms: float, tpot_ms: float, output_tokens: int) -> float:
    """From the request to its last token."""
    return ttft_ms + (output_tokens - 1) * tpot_ms


def requests_per_minute(concurrency: int, each_ms: float) -> float:
    """Of a replica that always has so many requests open, each of which takes so long."""
    return MINUTE_MS * concurrency / each_ms


def per_request(usd_per_hour: Fraction | None, per_minute: float) -> Fraction | None:
    """An hour's rent over its requests."""
    return None if usd_per_hour is None else usd_per_hour / (HOUR_MINUTES * _exactly(per_minute))


def per_million(usd_per_request: Fraction | None, output_tokens: float) -> Fraction | None:
    """A million answer tokens, at so many of each request."""
    return None if usd_per_request is None else usd_per_request * MILLION / _exactly(output_tokens)


def _exactly(figure: float) -> Fraction:
    """A measured or predicted figure as money is divided by it: to a billionth."""
    return Fraction(max(1, round(figure * BILLION)), BILLION)
